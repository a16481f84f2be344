"""`keephold govern`: an action is proposed to a file, endorsed by one holder of a key after another, submitted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import DeadlineExceeded, EncodingError, InputError
from keephold.base.limits import MAX_TRANSACTION
from keephold.cli.output import emit
from keephold.cli.place import AS_ACCOUNT, ON_NETWORK, AsAccount, OnNetwork
from keephold.client import governing
from keephold.client.keystore import replace_file
from keephold.client.network import Network
from keephold.contract.address import Address
from keephold.crypto.hashing import sha256
from keephold.protocol.codec import decode, encode
from keephold.protocol.genesis import network_id
from keephold.protocol.governance import RevokeIdentity, SetValidators, SignedProposal

_POWER: Final = 10
"""Of a validator where none is named: what `network init` and `assemble` give each."""

OutFile = Annotated[Path, Parameter(help="New file for the proposal.")]
ProposalFile = Annotated[Path, Parameter(help="File with the proposal.")]


def validators(
    *,
    out: OutFile,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", negative="", help="Validator's public key, or KEY=POWER (10); once for each."),
    ] = None,
    remove: Annotated[list[str] | None, Parameter(negative="", help="Public key of one to take off.")] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose to give some validators a power, or take some off; the others stay as they are."""
    powers = dict(_entry(text) for text in set_ or []) | {_key(text): 0 for text in remove or []}
    if not powers:
        raise InputError("give --set or --remove")
    pinned = options.pinned()
    with Network.connect(pinned.url, pinned.genesis) as network:
        signed = network.run(lambda n: governing.change_validators(n.connection, powers))
    _write_new(out, signed, options)


def revoke(
    identity: Annotated[str, Parameter(help="Address of a worker or gatekeeper.")],
    *,
    out: OutFile,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose to end a worker or gatekeeper: it gets no key any more, and contracts it held change their keys."""
    try:
        address = Address.parse(identity)
    except ValueError as error:
        raise InputError(f"not an address: {error}") from error
    pinned = options.pinned()
    with Network.connect(pinned.url, pinned.genesis) as network:
        signed = network.run(lambda n: governing.propose(n.connection, RevokeIdentity(bytes(address))))
    _write_new(out, signed, options)


def sign(file: ProposalFile, options: AsAccount = AS_ACCOUNT) -> None:
    """Show a proposal, and endorse it as an account that holds a governance key; nothing is sent."""
    pinned = options.pinned()
    signed = _read(file)
    if signed.proposal.network != network_id(pinned.genesis):
        raise InputError(f"{file} is for another network")
    account = options.account(pinned)
    signed = governing.endorse(signed, account.key)
    replace_file(file, encode(signed))
    emit(_facts(signed), _text(signed), as_json=options.json)


def submit(file: ProposalFile, options: AsAccount = AS_ACCOUNT) -> None:
    """Put a proposal on the ledger; any account may, as only its endorsements count."""
    pinned = options.pinned()
    account = options.account(pinned)
    signed = _read(file)
    seconds = options.seconds()
    with Network.connect(pinned.url, pinned.genesis) as network:
        try:
            height = network.run(lambda n: governing.enact(n.connection, account, signed, seconds))
        except TimeoutError:
            raise DeadlineExceeded(f"not enacted within {seconds:g} s; it may still be") from None
    text = f"enacted, proven at height {height}; in force after the delay that the law sets"
    emit({**_facts(signed), "height": height}, text, as_json=options.json)


def _entry(text: str) -> tuple[bytes, int]:
    key, _, power = text.partition("=")
    if power and not (power.isascii() and power.isdigit() and int(power[:18]) > 0 and len(power) <= 18):
        raise InputError(f"--set {text}: a power is a number from 1 on")
    return _key(key), int(power or _POWER)


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InputError(f"{text!r} is no validator's public key: 64 hexadecimal digits")
    return key


def _read(path: Path) -> SignedProposal:
    try:
        return decode(path.read_bytes()[: MAX_TRANSACTION + 1], SignedProposal)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except EncodingError as error:
        raise InputError(f"{path}: not a proposal: {error}") from error


def _write_new(path: Path, signed: SignedProposal, options: OnNetwork) -> None:
    if path.exists():
        raise InputError(f"--out {path} exists")
    replace_file(path, encode(signed))
    emit(_facts(signed), _text(signed), as_json=options.json)


def _facts(signed: SignedProposal) -> dict[str, object]:
    proposal = signed.proposal
    return {
        "network": proposal.network,
        "sequence": proposal.sequence,
        "action": _said(signed),
        "digest": sha256(encode(proposal)),
        "endorsed_by": [Address.account(item.key) for item in signed.endorsements],
    }


def _said(signed: SignedProposal) -> list[str]:
    match signed.proposal.action:
        case SetValidators(validators=entries):
            return [f"validator {entry.public_key.hex()} power {entry.power}" for entry in entries]
        case RevokeIdentity(identity=identity):
            return [f"revoke {Address.account(identity)}"]
        case action:
            return [repr(action)]


def _text(signed: SignedProposal) -> str:
    proposal = signed.proposal
    return "\n".join(
        (
            f"proposal {proposal.sequence} of network {proposal.network.hex()}:",
            *(f"  {line}" for line in _said(signed)),
            f"digest {sha256(encode(proposal)).hex()}",
            f"endorsed by {len(signed.endorsements)}: "
            + (", ".join(str(Address.account(item.key)) for item in signed.endorsements) or "nobody yet"),
        )
    )
