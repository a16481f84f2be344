"""Every function that takes bytes from outside, with the one error family that it declares."""

from __future__ import annotations

from typing import Final

from fuzz import consensus, edges, envelopes
from fuzz.model import Parser

PARSERS: Final[dict[str, Parser]] = {
    parser.name: parser for parser in (*consensus.PARSERS, *envelopes.PARSERS, *edges.PARSERS)
}

REACHED: Final = {
    "attestation.quotes.parse": "quote",
    "chain.merkle.decode": "merkle-proof",
    "chain.sparse.decode": "map-proof",
    "chain.validators.decode_validator_set": "validator-set",
    "chain.wire.decode_commit": "commit",
    "chain.wire.decode_header": "header",
    "chain.wire.decode_signed_header": "signed-header",
    "client.abi.parse_abi": "abi",
    "cli.permit.read_permit": "permit",
    "cli.permit.read_session": "session",
    "client.collateral.parse_bundle": "collateral-bundle",
    "client.keystore.read_directory": "keystore-directory",
    "client.pinned.read": "pinned-genesis",
    "crypto.aead.open": "slot",
    "crypto.bearer.check_public": "validator-key",
    "crypto.certificates.open_revocation_list": "collateral",
    "crypto.certificates.open_root": "root-certificate",
    "crypto.ed25519.check_public": "validator-key",
    "crypto.hpke.check_public": "encryption-key",
    "crypto.hpke.open": "call",
    "crypto.padding.unpad": "padding",
    "crypto.ristretto.decode_point": "group-element",
    "crypto.ristretto.decode_scalar": "scalar",
    "crypto.signing.check_public": "signing-key",
    "follower.remote.decoded": "record-wire-Verdicts",
    "follower.remote.refusal": "refused-request",
    "ledger.engines.cometbft.messages.parse": "abci-request",
    "programs.config.read_genesis": "genesis-file",
    "programs.membership.read_member": "member",
    "programs.law.read_law": "law",
    "programs.node.read_config": "node-configuration",
    "protocol.channel.read_entry": "inbox-entry",
    "protocol.codec.decode": "record-messages-CallPlain",
    "protocol.transactions.open_signed": "transaction",
    "runtime.wire.decode_to_parent": "child-to-parent",
    "sealing.call.open_call": "inside-call",
    "sealing.message.open_answer": "message-answer",
    "sealing.message.open_message": "message",
    "sealing.query.open_answer": "answer",
    "sealing.query.open_query": "inside-query",
    "sealing.receipt.open_receipt": "receipt",
    "sealing.release.open_partials": "inside-release",
    "sealing.slot.open": "slot",
}
"""Functions that turn bytes, or a file, into a value, and the parser through which a campaign reaches each."""

UNREACHED: Final = {
    "client.abi.decode": "JSON that a contract returned: a reply, behind `receipt`; tests/client/test_abi.py",
    "custody.public.dealing.open_dealing": "needs a ceremony; tests/custody alters dealings byte by byte",
    "custody.public.dealing.open_pepper": "as open_dealing",
    "enclave.vault.open_vault": "a directory, whose files are authenticated before they are read",
    "follower.trust.open_register": "`transaction`, and then a comparison of fields",
    "ledger.differences.read_snapshot": "the operator's own ledger, on which its node runs",
    "ledger.differences.read_snapshot_at": "as read_snapshot",
    "ledger.archive.opened": "`record-transactions-SignedTransaction`",
    "programs.cometbft.open_comet_engine": "its file is JSON by this program",
    "programs.config.read_signing_key": "32 bytes or refused",
    "programs.node.read_validator_seed": "32 bytes or refused",
    "programs.worker.open_guest": "an artefact pinned by its hash",
    "testing.comet.watched.refusals": "a diary that the same test wrote",
    "worker.state.decode": "a slot that this contract's enclave sealed: behind `slot`",
    "runtime.linking.wasm.read": "an artefact pinned by its hash",
}
"""Functions of that shape that no campaign reaches, with the reason."""
