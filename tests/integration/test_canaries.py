"""G1, G2, G3: no secret lies in the ledger, on a disk, in a log, in a cache, or on a wire.

Every path on which a contract speaks carries 32 random bytes of its own, and every key that this test can come by is
looked for too: those of accounts and operators lie in files of the devnet, and the sealed disks open to whoever is the
development vendor. From t shares and their pepper the contract's own keys are derived, and shown to be the right ones.

A *decoy* lies in every place that is searched, in every spelling, and was sent through every wire and put on the ledger
in the clear. So a search that finds the decoys and nothing else has looked.
"""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keephold.base.errors import ContractFailed, Rejected
from keephold.base.ids import ContractId
from keephold.client.network import Network
from keephold.client.pinned import home
from keephold.client.source import code_from_source
from keephold.contract.address import Address
from keephold.crypto import labels
from keephold.crypto.entity import EntityKeys
from keephold.crypto.hashing import framed, number
from keephold.crypto.kdf import derive
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.custody.secret.release import combine, partial, prf_input
from keephold.custody.secret.share import Share
from keephold.enclave.vault import open_vault
from keephold.protocol.lines import ContractLine, SigningLine
from keephold.protocol.messages import KeyName
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.owned_keys import OwnedKeys
from keephold.testing.build import build_of
from keephold.testing.devnet import Devnet
from keephold.testing.proxy import Proxy
from keephold.testing.scan import Finding, Scanner, plant, spellings
from keephold.testing.vendor import DevelopmentVendor, Machine

SOURCE = Path(__file__).parent / "contracts" / "safe.py"
DECOY = "decoy"
PATIENCE = 240.0
PLACES = ("state", "logs", "temporary", "cache", "clients' wire", "programs' wire")


def masked(words: bytes, mask: int) -> bytes:
    """As the contract does."""
    return bytes(byte ^ mask for byte in words)


@dataclass
class World:
    """A network that has lived, what was secret in it, and where it left traces."""

    net: Devnet
    places: dict[str, Path]
    canaries: dict[str, bytes] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    decoy: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    contract: ContractId = field(init=False)
    owned: bytes = b""
    """The public half of a key that the contract owns."""

    def canary(self, label: str, masks: dict[str, int] | None = None) -> bytes:
        """Return new random words; they are looked for, and what the contract makes of them is."""
        words = secrets.token_bytes(32)
        self.canaries[label] = words
        for path, mask in (masks or {}).items():
            self.canaries[path] = masked(words, mask)
        return words


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, behind_a_proxy) -> Iterator[World]:
    root = tmp_path_factory.mktemp("canaries")
    for name in ("temporary", "captured"):
        (root / name).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(root / "temporary"))
        with behind_a_proxy(root / "captured" / "programs") as behind, Devnet.start(state=root / "state") as net:
            port = urlsplit(net.url).port or 0
            with Proxy(port, root / "captured" / "clients") as clients:
                places = {
                    "state": net.home,
                    "logs": net.home / "logs",
                    "temporary": root / "temporary",
                    "cache": Path(tomllib.loads((net.home / "w0.toml").read_text())["cache"]),
                    "clients' wire": clients.captured,
                    "programs' wire": behind[0].captured,
                }
                lived = World(net, places)
                _live(lived, clients.url)
                net.kill("w0")  # what was in memory must not come to lie on a disk by a sudden end
                with Network.connect(clients.url, net.genesis) as network:
                    contract = network.contract(Address.contract(lived.contract))
                    again = lived.canary("argument after a crash")
                    contract.call("keep", "again", again, account=net.accounts["bob"], deadline=PATIENCE)
                _collect_keys(lived)
                yield lived


def _live(world: World, url: str) -> None:
    """Send a canary along every path, and see that it arrived: that the contract really spoke."""
    alice = world.net.accounts["alice"]
    code = code_from_source(SOURCE.read_text() + f"\n# {world.decoy.hex()}\n")
    name = world.canary("storage key").hex()
    with Network.connect(url, world.net.genesis) as network:
        safe = network.deploy(code, world.canary("init argument", {"init state": 0x01}), account=alice)
        world.contract = ContractId(safe.address.value)
        paths = {"state": 0x11, "event": 0x12, "contract log": 0x13, "standard output": 0x14, "result": 0x15}
        words = world.canary("argument", paths)
        pending = safe.submit("keep", name, words, account=alice)
        assert pending.wait() == world.canaries["result"]
        world.keys["reply key"] = pending._pending._reply_key.reveal()
        words = world.canary("refused argument", {"refused state": 0x21, "rejection": 0x22})
        with pytest.raises(Rejected, match=world.canaries["rejection"].hex()):
            safe.call("refuse", words, account=alice)
        words = world.canary("failing argument", {"exception": 0x31})
        with pytest.raises(ContractFailed):
            safe.call("fail", words, account=alice)
        words = world.canary("question", {"question's log": 0x41, "answer": 0x42})
        told = safe.query("tell", name, words, account=alice)
        assert told[:32] == world.canaries["answer"]
        world.canaries["answer from state"] = told[32:]
        assert told[32:] == masked(world.canaries["state"], 0x43)
        words = world.canary("argument to sign", {"what is signed": 0x61})
        world.owned = safe.call("sign", words, account=alice)
        released = safe.released("words", account=alice)
        assert (released.public, released.message) == (world.owned, world.canaries["what is signed"])
        world.canaries["released signature"] = released.signature[:32]
        words = world.canary("denied question", {"denial": 0x51})
        with pytest.raises(Rejected, match=world.canaries["denial"].hex()):
            safe.query("deny", words, account=alice)


def _collect_keys(world: World) -> None:
    """Take every key from where it lawfully lies, as the development vendor."""
    net, keys = world.net, world.keys
    for name, account in net.pinned.devnet_keys().items():
        keys[f"account {name}"] = _account_seed(net, name, account.public)
    for path in net.home.glob("*.seed"):
        raw = path.read_bytes()
        keys[path.name] = raw if len(raw) == 32 else bytes.fromhex(raw.decode())
    vendor = DevelopmentVendor.create_or_load(home() / "development")
    shares = []
    for name in ("g0", "g1", "g2", "w0"):
        role = "worker" if name.startswith("w") else "gatekeeper"
        platform = vendor.platform(Machine.named(name), build_of(role, net.genesis.guest))
        keys[f"{name}: disk"] = platform.sealing_key(framed(labels.KEY_DISK, net.pinned.id, role.encode())).reveal()
        vault = open_vault(platform, net.pinned.id, role, net.home / name)
        seed = vault.read("identity")
        keys[f"{name}: identity"] = seed.reveal()
        keys[f"{name}: signing"] = derive(seed, labels.SEED_SIGNING).reveal()
        keys[f"{name}: encryption"] = derive(seed, labels.SEED_ENCRYPTION).reveal()
        assert EntityKeys(seed).signing.public.hex() in net.log(name).read_text()
        if role == "gatekeeper":
            shares.append(Share.from_sealed_bytes(vault.read("share")))
            keys[f"{name}: share"] = shares[-1].scalar().reveal()
    keys["pepper"] = shares[0].pepper().reveal()
    _collect_contract_keys(world, shares)


def _collect_contract_keys(world: World, shares: list[Share]) -> None:
    """Derive what the worker derived, and show that it is the same: by the public key that clients seal to."""
    network, contract, epoch = world.net.pinned.id, world.contract, 1
    inputs = [prf_input(network, ContractLine(contract, epoch))]
    (seed,) = combine([partial(share, inputs, secrets.token_bytes) for share in shares], shares[0].committee, inputs)
    with Network.connect(world.net.url, world.net.genesis) as client:
        public = client.contract(Address.contract(contract)).verified().encryption_key
    assert ContractKeys(seed, network, contract, epoch).encryption.public == public
    root = derive(seed, labels.CONTRACT_SEED, network, contract, number(epoch))
    world.keys |= {"contract: seed": seed.reveal(), "contract: root": root.reveal()}
    for label in (labels.KEY_STATE, labels.KEY_TAG, labels.KEY_ENTROPY, labels.KEY_EVENT):
        world.keys[f"contract: {label}"] = derive(root, label).reveal()
    for label in (labels.SEED_SIGNING, labels.SEED_ENCRYPTION):
        world.keys[f"contract: {label}"] = derive(root, label).reveal()
    inputs = [prf_input(network, SigningLine(contract))]
    (seed,) = combine([partial(share, inputs, secrets.token_bytes) for share in shares], shares[0].committee, inputs)
    owned, name = OwnedKeys(seed, network, contract), KeyName("secp256k1", "safe", ("words",))
    assert owned.public(name) == world.owned
    world.keys |= {"owned: seed": seed.reveal(), "owned: root": owned._root.reveal()}
    world.keys["owned: private key"] = owned._material(name, 0).reveal()


def _account_seed(net: Devnet, name: str, public: bytes) -> bytes:
    seed = bytes.fromhex(json.loads((net.home / "devnet-accounts.json").read_text())["seeds"][name])
    assert SigningKey(SecretBytes(seed)).public == public
    return seed


@pytest.fixture(scope="module")
def findings(world: World) -> list[Finding]:
    """One search of every place for every secret and the decoy, while the network still runs."""
    planted = [path / "planted" for path in world.places.values()]
    for directory in planted:
        plant(directory, {DECOY: world.decoy})
    try:
        scanner = Scanner({**world.canaries, **world.keys, DECOY: world.decoy})
        outer = [world.places[name] for name in PLACES if name != "logs"]  # logs lie in the state directory
        return scanner.places(outer)
    finally:
        for directory in planted:
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()


@pytest.mark.parametrize("place", PLACES)
def test_decoys_are_found_in_every_spelling(world: World, findings: list[Finding], place: str) -> None:
    directory = str(world.places[place] / "planted")
    found = {finding.spelling for finding in findings if finding.place.startswith(directory)}
    assert found >= set(spellings(world.decoy))


def test_what_was_public_is_found_in_the_ledger_and_on_both_wires(world: World, findings: list[Finding]) -> None:
    found = {finding.place for finding in findings if finding.label == DECOY and "planted" not in finding.place}
    for place in ("clients' wire", "programs' wire"):
        directions = {Path(name).suffix for name in found if name.startswith(str(world.places[place]))}
        assert directions >= ({".up", ".down"} if place == "clients' wire" else {".down"}), place
    assert any(name.startswith(str(world.net.home / "node")) for name in found)


def test_no_canary_lies_anywhere(world: World, findings: list[Finding]) -> None:
    assert len(world.canaries) >= 20
    assert [finding for finding in findings if finding.label in world.canaries] == []


def test_no_key_lies_anywhere_but_in_the_file_that_is_for_it(world: World, findings: list[Finding]) -> None:
    assert len(world.keys) >= 40
    lawful = {label: world.net.home / label for label in world.keys if label.endswith(".seed")}
    lawful |= {f"account {name}": world.net.home / "devnet-accounts.json" for name in world.net.accounts}
    of_keys = [finding for finding in findings if finding.label in world.keys]
    assert [finding for finding in of_keys if finding.place != str(lawful.get(finding.label))] == []
    assert {finding.label for finding in of_keys} == set(lawful), "where keys do lie, they are found"
