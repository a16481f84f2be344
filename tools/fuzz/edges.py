"""Parsers of keys, quotes, files, addresses, interfaces, and of what an execution process says."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fuzz.model import ANY, Parser, file, text
from fuzz.samples import sample
from keephold.attestation.collateral import verify_collateral
from keephold.attestation.quotes import parse as parse_quote
from keephold.attestation.verify import unverified_subject
from keephold.base.errors import (
    AbiError,
    AttestationRefused,
    BadKey,
    BadSignature,
    ConfigurationError,
    EncodingError,
    InputError,
    KeystoreError,
)
from keephold.client.abi import parse_abi
from keephold.client.collateral import bundle_of, parse_bundle
from keephold.client.keystore import Keystore, read_directory
from keephold.client.permits import Session, parse_permit, permit_text
from keephold.client.pinned import GENESIS, NETWORK, PinnedNetwork
from keephold.contract.address import Address
from keephold.contract.errors import Mismatch
from keephold.contract.text import parse as parse_json
from keephold.crypto import ed25519, hpke, signing
from keephold.crypto.bearer import BearerKey
from keephold.crypto.certificates import open_root
from keephold.crypto.ristretto import decode_point, decode_scalar
from keephold.crypto.secret import SecretBytes
from keephold.follower.remote import refusal
from keephold.programs.config import read_genesis
from keephold.programs.law import TEMPLATE, read_law
from keephold.programs.membership import read_member
from keephold.programs.node import read_config
from keephold.protocol.codec import decode, encode
from keephold.protocol.evidence import Collateral, CollateralFloor, Evidence
from keephold.protocol.genesis import Genesis
from keephold.protocol.permits import Permit
from keephold.protocol.wire import Fault
from keephold.runtime import wire
from keephold.sealing.query import issue_permit
from keephold.testing.vendor import DevelopmentVendor, Machine, SgxBuild, TdxBuild

_NOW_NS: Final = 1_800_000_000_000_000_000
_VENDOR: Final = DevelopmentVendor(SecretBytes(b"v" * 32))
_TDX: Final = TdxBuild.named("worker")
_SGX: Final = SgxBuild.named("worker")
_POLICY: Final = _VENDOR.policy((_TDX, "worker"))
_COLLATERAL: Final = _VENDOR.collateral(now_ns=_NOW_NS, tee="tdx")
_KEY: Final = signing.SigningKey(SecretBytes(b"a" * 32))
_ADDRESS: Final = str(Address.account(_KEY.public)).encode()
_METHOD: Final = {
    "kind": "call",
    "doc": "",
    "params": {"to": {"type": "string"}},
    "order": ["to"],
    "returns": None,
    "rejects": [],
}
_ABI: Final = {
    "abi": 1,
    "name": "Token",
    "doc": "",
    "pad": [512],
    "methods": {
        "move": {
            "kind": "call",
            "doc": "",
            "params": {"to": {"type": "string"}},
            "order": ["to"],
            "returns": None,
            "rejects": [],
        }
    },
    "events": {},
    "storage": {},
}


_BEARER: Final = SecretBytes(b"b" * 32)
_PERMIT: Final = issue_permit(
    _KEY,
    Permit(
        network=b"n" * 32,
        issuer=_KEY.public,
        contracts="*",
        scopes=("balance",),
        bearer=BearerKey(_BEARER).public,
        origin="",
        not_before_ns=1,
        expires_ns=2,
        generation=0,
        salt=b"s" * 16,
    ),
)
_NODE: Final = b'genesis = "g"\nhome = "h"\nvalidator_key = "k"\n[cometbft]\n'
_MEMBER: Final = (
    f'public_key = "{"ab" * 32}"\nnode_id = "{"cd" * 20}"\nhost = "10.0.0.1"\nport = 7707\np2p_port = 26656\n'
).encode()
_SAID: Final = (wire.Need("key"), wire.Loaded("Token", "{}"), wire.Refused("no contract", 3, 5))


def _quotes() -> tuple[bytes, ...]:
    machine, said = Machine.named("one"), b"d" * 64
    builds = (_SGX, _TDX, TdxBuild.named("worker", version=5))
    return tuple(_VENDOR.quote(build, said, machine) for build in builds)


def _law() -> bytes:
    """Return the template with every blank filled in, and each account another one's."""
    filled = TEMPLATE
    for at in range(1, filled.count("kh1…") + 1):
        account = signing.SigningKey(SecretBytes(bytes([at]) * 32)).public
        filled = filled.replace("kh1…", str(Address.account(account)), 1)
    return filled.replace("…", "ab" * 32).encode()


def _pinned(altered: str) -> Callable[[bytes], object]:
    """Return a reader of a pinned network, one of whose files holds the bytes."""

    def parse(raw: bytes) -> object:
        with tempfile.TemporaryDirectory() as directory:
            PinnedNetwork(Path(directory), "http://127.0.0.1:1", sample(Genesis)).write()
            (Path(directory) / altered).write_bytes(raw)
            return PinnedNetwork.read(Path(directory))

    return parse


def _judged(raw: bytes) -> object:
    return verify_collateral(decode(raw, Collateral), _POLICY, CollateralFloor(), now_ns=_NOW_NS + 1)


def _keystore() -> bytes:
    """Return the file of a keystore with one account."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "keystore.json"
        store = Keystore.create(path, SecretBytes(b"password"))
        store.new("alice")
        store.save()
        return path.read_bytes()


PARSERS: Final = (
    Parser("quote", lambda raw: parse_quote(raw, _VENDOR.name), AttestationRefused, _quotes()),
    Parser(
        "evidence",
        lambda raw: unverified_subject(decode(raw, Evidence)),
        (AttestationRefused, EncodingError),
        tuple(encode(Evidence(vendor=_VENDOR.name, quote=quote)) for quote in _quotes()),
    ),
    Parser("collateral", _judged, (AttestationRefused, EncodingError), (encode(_COLLATERAL),)),
    Parser("collateral-bundle", lambda raw: parse_bundle(raw, _VENDOR.name), InputError, (bundle_of(_COLLATERAL),)),
    Parser("root-certificate", open_root, BadSignature, (_VENDOR.entry.root,)),
    Parser("signing-key", signing.check_public, BadKey, (_KEY.public,)),
    Parser("encryption-key", hpke.check_public, BadKey, (hpke.EncryptionKey.generate().public,)),
    Parser("validator-key", ed25519.check_public, BadKey, (ed25519.ValidatorKey.generate().public,)),
    Parser("group-element", decode_point, BadKey, (_KEY.public,)),
    Parser("scalar", decode_scalar, BadKey, (b"\1" + bytes(31),)),
    Parser("address", text(Address.parse), ValueError, (_ADDRESS,), lambda address: str(address).encode()),
    Parser("contract-json", text(parse_json), Mismatch, (b'{"a":[1,"b",null,true]}',)),
    Parser("abi", parse_abi, AbiError, (json.dumps(_ABI).encode(),)),
    Parser("refused-request", lambda raw: refusal(raw, 400), (), (encode(Fault("input", "", "said")),)),
    Parser(
        "child-to-parent",
        wire.decode_to_parent,
        wire.Closed,
        (wire.encode(wire.Need("key")), wire.encode(wire.Loaded("Token", "{}"))),
    ),
    Parser("keystore-directory", file(read_directory), KeystoreError, (_keystore(),)),
    Parser("node-configuration", file(read_config), ConfigurationError, (_NODE,)),
    Parser("genesis-file", file(read_genesis), ConfigurationError, (encode(sample(Genesis)),)),
    Parser("pinned-genesis", _pinned(GENESIS), ConfigurationError, (encode(sample(Genesis)),)),
    Parser("pinned-network", _pinned(NETWORK), ConfigurationError, (b'{"version":1,"url":"http://127.0.0.1:1"}',)),
    Parser("permit", text(parse_permit), ANY, (permit_text(_PERMIT).encode(),)),
    Parser("session", text(Session.parse), ANY, (Session(_PERMIT, _BEARER).reveal().encode(),)),
    Parser("member", file(read_member), ConfigurationError, (_MEMBER,)),
    Parser("law", file(read_law), ConfigurationError, (_law(),)),
)
