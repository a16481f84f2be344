"""Identities, keys, the threshold PRF, report data and levels."""

from __future__ import annotations

from typing import Any, Final

from keephold.attestation.levels import level
from keephold.attestation.policy import report_data
from keephold.base.ids import CodeHash, ContractId, NetworkId, PublicKey, TransactionId
from keephold.chain.chain_id import chain_id
from keephold.contract.address import Address
from keephold.crypto import ristretto
from keephold.crypto.entity import EntityKeys
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial
from keephold.custody.public import dealing
from keephold.custody.secret import release
from keephold.custody.secret.share import Share
from keephold.protocol.codec import decode, encode
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.custody import CommitteeKeys, CommitteeSeat, PartialBatch
from keephold.protocol.evidence import Claim
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.lines import ChannelLine, ContractLine, KeyLine, SigningLine
from keephold.sealing.contract_keys import ContractKeys
from vectors.base import Family, Given, Maker, fixed, octets, secret
from vectors.law import genesis

NETWORK: Final = NetworkId(fixed("network"))
CONTRACT: Final = ContractId(fixed("contract"))
BOUND: Final = {"seed": fixed("contract seed").hex(), "network": NETWORK.hex(), "contract": CONTRACT.hex(), "epoch": 3}


def contract_keys(given: Given) -> ContractKeys:
    """Return the keys that a case is about."""
    network, contract = NetworkId(octets(given, "network")), ContractId(octets(given, "contract"))
    return ContractKeys(SecretBytes(octets(given, "seed")), network, contract, given["epoch"])


def _network(given: Given) -> dict[str, Any]:
    network = network_id(decode(octets(given, "genesis"), Genesis))
    return {"network": network.hex(), "chain_id": chain_id(network)}


def _contract(given: Given) -> dict[str, Any]:
    code, policy = decode(octets(given, "code"), Code), decode(octets(given, "policy"), ContractPolicy)
    hashed = code_hash(code)
    network, creator = NetworkId(octets(given, "network")), PublicKey(octets(given, "creator"))
    contract = contract_id(network, creator, given["nonce"], CodeHash(hashed), policy)
    return {"code_hash": hashed.hex(), "contract": contract.hex(), "address": Address.contract(contract).text}


def _make_identities(maker: Maker) -> None:
    maker.add("a network", "network", {"genesis": encode(genesis()).hex()})
    maker.add("a network under another name", "network", {"genesis": encode(genesis("other")).hex()})
    maker.add(
        "a law that nobody could amend", "network", {"genesis": encode(genesis(threshold=4)).hex()}, "configuration"
    )
    code = Code("python", b"from keephold import Contract\n", "Token", b"{}")
    given = {
        "network": NETWORK.hex(),
        "creator": fixed("creator").hex(),
        "nonce": 7,
        "code": encode(code).hex(),
        "policy": encode(ContractPolicy()).hex(),
    }
    maker.add("a contract; a policy of defaults is an empty map", "contract", given)
    maker.add("the same code deployed again", "contract", {**given, "nonce": 8})
    maker.add("under another policy", "contract", {**given, "policy": encode(ContractPolicy(1, 3, 2)).hex()})


def _entity(given: Given) -> dict[str, Any]:
    pair = EntityKeys(SecretBytes(octets(given, "seed")))
    return {"signing": pair.signing.public.hex(), "encryption": pair.encryption.public.hex()}


def _contract_keys(given: Given) -> dict[str, Any]:
    keys = contract_keys(given)
    call = TransactionId(octets(given, "call"))
    return {
        "signing": keys.signing.public.hex(),
        "encryption": keys.encryption.public.hex(),
        "tag": keys.slots.tag(given["storage_key"]).hex(),
        "event_key": keys.event_key(PublicKey(octets(given, "recipient"))).reveal().hex(),
        "entropy": keys.entropy(call).hex(),
        "filler": keys.filler(call, 64).hex(),
    }


def _make_keys(maker: Maker) -> None:
    maker.add("an entity", "entity", {"seed": fixed("entity").hex()})
    maker.add("a seed of 31 bytes", "entity", {"seed": fixed("entity")[:31].hex()}, "bad_key")
    given = {**BOUND, "storage_key": "c/balances[1]", "recipient": fixed("alice").hex(), "call": fixed("call").hex()}
    maker.add("a contract", "contract_keys", given)
    maker.add("its next epoch", "contract_keys", {**given, "epoch": 4})
    maker.add("the same seed on another network", "contract_keys", {**given, "network": fixed("elsewhere").hex()})


def committee() -> tuple[CommitteeKeys, list[Share]]:
    """Return a committee, 2 of 3, and its shares."""
    coefficients = [ristretto.secret_scalar(SecretBytes(fixed(f"coefficient {at}", 64))) for at in range(2)]
    scalars = [polynomial.evaluate(coefficients, seat) for seat in (1, 2, 3)]
    parts = [secret(f"pepper {at}") for at in range(3)]
    keys = CommitteeKeys(
        network=NETWORK,
        master=ristretto.multiply_base(coefficients[0]),
        threshold=2,
        sharing_epoch=1,
        seats=tuple(
            CommitteeSeat(seat, fixed(f"gatekeeper {seat}"), ristretto.multiply_base(scalar))
            for seat, scalar in enumerate(scalars, 1)
        ),
        peppers=tuple(dealing.pepper_commitment(NETWORK, part) for part in parts),
    )
    pepper = SecretBytes(b"".join(part.reveal() for part in parts))
    return keys, [Share(seat, scalar, pepper, keys) for seat, scalar in enumerate(scalars, 1)]


def _prf_input(given: Given) -> dict[str, Any]:
    line = decode(octets(given, "line"), KeyLine)  # type: ignore[arg-type] - a union of records
    return {"x": release.prf_input(NetworkId(octets(given, "network")), line).hex()}


def _partial(given: Given) -> dict[str, Any]:
    keys = decode(octets(given, "committee"), CommitteeKeys)
    share = Share(given["seat"], SecretBytes(octets(given, "scalar")), SecretBytes(octets(given, "pepper")), keys)
    inputs = [bytes.fromhex(x) for x in given["inputs"]]
    return {"partial": encode(release.partial(share, inputs, lambda _: octets(given, "entropy"))).hex()}


def _combine(given: Given) -> dict[str, Any]:
    keys = decode(octets(given, "committee"), CommitteeKeys)
    partials = [decode(bytes.fromhex(raw), PartialBatch) for raw in given["partials"]]
    seeds = release.combine(partials, keys, [bytes.fromhex(x) for x in given["inputs"]])
    return {"seeds": [seed.reveal().hex() for seed in seeds]}


def _make_threshold(maker: Maker) -> None:
    keys, shares = committee()
    inputs = [
        maker.add(name, "prf_input", {"network": NETWORK.hex(), "line": encode(line).hex()})["x"]
        for name, line in (
            ("a contract's keys", ContractLine(CONTRACT, 3)),
            ("its next epoch", ContractLine(CONTRACT, 4)),
            ("its signing keys", SigningLine(CONTRACT)),
            ("a channel", ChannelLine(CONTRACT, 3, fixed("target"), 5)),
            ("the channel back", ChannelLine(fixed("target"), 5, CONTRACT, 3)),
        )
    ][:2]
    shared = {"committee": encode(keys).hex(), "inputs": inputs}
    partials = []
    for share in shares:
        given = {
            **shared,
            "seat": share.seat,
            "scalar": share.scalar().reveal().hex(),
            "pepper": share.pepper().reveal().hex(),
            "entropy": fixed(f"entropy {share.seat}", 64).hex(),
        }
        partials.append(maker.add(f"partial of seat {share.seat}", "partial", given)["partial"])
    wrong = {**given, "scalar": shares[0].scalar().reveal().hex()}
    maker.add("another seat's share", "partial", wrong, "bad_share")
    first, second, third = partials
    expected = maker.add("seats 1 and 2", "combine", {**shared, "partials": [first, second]})
    if maker.add("seats 3 and 1: the same seeds", "combine", {**shared, "partials": [third, first]}) != expected:
        raise ValueError("two sets of seats, two keys")
    lie = encode(_false(decode(bytes.fromhex(second), PartialBatch))).hex()
    maker.add("around a false one", "combine", {**shared, "partials": [first, lie, third]})
    maker.add("one alone", "combine", {**shared, "partials": [first]}, "bad_share")
    maker.add("one twice", "combine", {**shared, "partials": [first, first]}, "bad_share")
    maker.add("one and a false one", "combine", {**shared, "partials": [first, lie]}, "bad_share")
    maker.add("for another input", "combine", {**shared, "inputs": inputs[::-1], "partials": partials}, "bad_share")


def _false(batch: PartialBatch) -> PartialBatch:
    points = (batch.points[1], batch.points[0])
    return PartialBatch(batch.seat, batch.sharing_epoch, points, batch.proof, batch.macs)


def _report(given: Given) -> dict[str, Any]:
    return {"report_data": report_data(decode(octets(given, "claim"), Claim)).hex()}


def _make_report(maker: Maker) -> None:
    for role in ("worker", "gatekeeper"):
        claim = Claim(
            network=NETWORK,
            role=role,
            signing_key=fixed("identity"),
            encryption_key=fixed("encryption key", 1216),
            operator=fixed("operator"),
            instance=fixed("instance"),
            anchor_height=41,
            anchor_hash=fixed("anchor"),
        )
        maker.add(role, "report_data", {"claim": encode(claim).hex()})


def _make_levels(maker: Maker) -> None:
    advisory = "INTEL-SA-00615"
    for status in ("UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"):
        maker.add(f"{status}, accepted", "level", {"status": status, "advisories": [advisory], "accepted": [advisory]})
        maker.add(f"{status}, not accepted", "level", {"status": status, "advisories": [advisory], "accepted": []})
    for status in ("OutOfDate", "OutOfDateConfigurationNeeded"):
        maker.add(status, "level", {"status": status, "advisories": [], "accepted": []})
    revoked = {"status": "Revoked", "advisories": [], "accepted": []}
    maker.add("Revoked", "level", revoked, "attestation_refused/revoked")
    relaunch = {**revoked, "status": "TDRelaunchAdvised"}
    maker.add("a status without a level", "level", relaunch, "attestation_refused/tcb_status")


IDENTITIES: Final = Family(
    "identities", "Network ids and contract ids.", {"network": _network, "contract": _contract}, _make_identities
)
KEYS: Final = Family(
    "keys",
    "Pairs of a seed; keys of a contract at an epoch. `filler` is 64 bytes of the receipt of an unreadable entry.",
    {"entity": _entity, "contract_keys": _contract_keys},
    _make_keys,
)
THRESHOLD: Final = Family(
    "threshold",
    "The threshold PRF: inputs, partials with their proofs, seeds.",
    {"prf_input": _prf_input, "partial": _partial, "combine": _combine},
    _make_threshold,
)
REPORT: Final = Family("report", "What a quote's report data binds.", {"report_data": _report}, _make_report)
LEVELS: Final = Family(
    "levels",
    "Confidence levels of TCB statuses.",
    {"level": lambda given: {"level": level(given["status"], given["advisories"], given["accepted"])}},
    _make_levels,
)
