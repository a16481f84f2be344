"""`keephold trust`: every party that could read a contract, forge its results or stop it, from proofs alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.cli.exposure import epoch_lines, epochs_body, exposure_body, exposure_lines
from keephold.cli.output import emit
from keephold.cli.place import ON_NETWORK, OnNetwork, contract_address
from keephold.client.breaking import Breaking
from keephold.client.network import Network
from keephold.client.trust import TrustReport
from keephold.client.trust_facts import Enclave
from keephold.client.trust_picture import count, headline, picture
from keephold.client.trust_words import duration
from keephold.contract.address import Address

SIMULATED: Final = (
    "TEE: SIMULATED. Everything below is true of the proofs, and protects nothing: whoever owns the machine reads, "
    "forges and stops."
)
_SHOWN: Final = 8


def trust(
    contract: Annotated[str, Parameter(help="Name or address of a contract.")],
    *,
    svg: Annotated[Path | None, Parameter(help="Write the picture of who holds which key to this file.")] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Say whom one has to trust with a contract: who could read, forge or stop, alone or together, and the proofs."""
    pinned = options.pinned()
    address = contract_address(pinned, contract)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        report = network.contract(address).trust()
    if svg is not None:
        try:
            svg.write_text(picture(report), encoding="utf-8")
        except OSError as error:
            raise InputError(f"--svg {svg}: {error.strerror}") from error
    emit(_body(address, report), "\n".join(_lines(address, report)), as_json=options.json)


def _lines(address: Address, report: TrustReport) -> list[str]:
    facts = report.facts
    law, committee = facts.governance, facts.committee
    lines = [f"contract {address}: {facts.name}, {facts.phase}, key epoch {facts.epoch}"]
    if report.is_simulated:
        lines += ["", SIMULATED]
    lines += ["", *report.summary.lines]
    lines += ["", f"Gatekeepers, {committee.threshold} of {len(committee.members)} make every key ({committee.phase}):"]
    lines += [f"  {_enclave(item)}" for item in committee.members] or ["  nobody"]
    lines += [f"  next: {_enclave(item)}" for item in committee.successors if item not in committee.members]
    lines += ["", f"Workers, {facts.quorum} must agree on a result; level {facts.level} or better:"]
    lines += [f"  {_enclave(item)}" for item in facts.workers] or ["  nobody"]
    lines += [f"  left, may hold the key still: {_enclave(item)}" for item in facts.departed]
    lines += ["", f"Governance, {law.threshold} of these keys, after {duration(law.delay_ns)} (revocations at once):"]
    lines += [f"  {key.hex()}" for key in law.keys] + [f"  under way: {item}" for item in law.pending]
    total = sum(item.power for item in facts.validators)
    lines += ["", "Validators; they order, delay and refuse, and assign attested workers:"]
    lines += [f"  {item.public_key.hex()}  power {item.power} of {total}" for item in facts.validators]
    lines += ["", "TEE vendors that the law believes:"]
    lines += [
        f"  {item.name}{'  SIMULATED: no hardware at all' if item.is_simulated else ''}" for item in facts.vendors
    ]
    for goal in (report.reveal, report.forge, report.stop):
        lines += ["", *_goal(goal)]
    lines += ["", "Breaking one party alone:"]
    lines += [f"  {item.party.label}: {item.sentence}" for item in report.alone]
    lines += ["", "What each assigned worker may hold:"]
    for exposure in facts.exposures:
        lines += exposure_lines(exposure)
    if ended := tuple(epoch for epoch in facts.epochs.epochs if epoch.ended):
        lines += ["", "Key epochs that have ended; who kept the key opens what was recorded:"]
        lines += epoch_lines(ended, facts.epochs.owned)
    lines += ["", "Messages with other contracts:", *(f"  {sentence}" for sentence in report.messages)]
    lines += ["", "Proofs:", *(f"  {number}. {sentence}" for number, sentence in enumerate(facts.proofs, 1))]
    lines += ["", "Not counted above:", *(f"  {sentence}" for sentence in report.not_counted)]
    lines += ["", "Not proven:", *(f"  {sentence}" for sentence in (*report.not_proven, *_open(report)))]
    return lines


def _open(report: TrustReport) -> tuple[str, ...]:
    return report.facts.exposures[0].not_proven if report.facts.exposures else ()


def _enclave(item: Enclave) -> str:
    who = f"{item.label}  operator {item.operator.hex()[:16]}  platform {item.platform.hex()[:16] or 'unknown'}"
    if not item.is_verified:
        return f"{who}  DOES NOT VERIFY NOW: {item.doubt}"
    until = datetime.fromtimestamp(item.lease_ns / 1e9, UTC)
    simulated = "  SIMULATED" if item.is_simulated else ""
    return f"{who}  level {item.level}  lease until {until:%Y-%m-%d %H:%M:%S} UTC  vendor {item.vendor}{simulated}"


def _goal(goal: Breaking) -> list[str]:
    lines = [headline(goal)]
    if goal.fewest:
        lines += [f"  - {' and '.join(party.label for party in sorted(item))}" for item in goal.smallest[:_SHOWN]]
        if len(goal.smallest) > _SHOWN:
            lines.append(f"  - and {len(goal.smallest) - _SHOWN} more (--json lists them)")
    lines += [f"  {count(way.fewest())}: {way.how}" for way in goal.ways]
    return lines


def _body(address: Address, report: TrustReport) -> dict[str, object]:
    facts = report.facts
    law, committee = facts.governance, facts.committee
    return {
        "contract": address,
        "class": facts.name,
        "phase": facts.phase,
        "epoch": facts.epoch,
        "simulated": report.is_simulated,
        "summary": {
            "read": report.summary.read,
            "forge": report.summary.forge,
            "stop": report.summary.stop,
            "worst": report.summary.worst,
            "assumed": report.summary.assumed,
        },
        "height": facts.height,
        "header_hash": facts.header_hash,
        "time_ns": facts.time_ns,
        "creator": Address.account(facts.creator),
        "gatekeepers": {
            "phase": committee.phase,
            "threshold": committee.threshold,
            "sharing_epoch": committee.sharing_epoch,
            "members": [_enclave_body(item) for item in committee.members],
            "successors": [_enclave_body(item) for item in committee.successors],
        },
        "workers": {
            "quorum": facts.quorum,
            "level": facts.level,
            "assigned": [_enclave_body(item) for item in facts.workers],
            "departed": [_enclave_body(item) for item in facts.departed],
        },
        "governance": {
            "keys": list(law.keys),
            "threshold": law.threshold,
            "delay_ns": law.delay_ns,
            "pending": list(law.pending),
        },
        "validators": [{"public_key": item.public_key, "power": item.power} for item in facts.validators],
        "vendors": [{"name": item.name, "simulated": item.is_simulated} for item in facts.vendors],
        "breaking": {
            name: {
                "goal": goal.goal,
                "fewest": goal.fewest,
                "sets": [[party.label for party in sorted(item)] for item in goal.sets],
                "complete": goal.is_complete,
                "ways": [{"fewest": way.fewest(), "how": way.how} for way in goal.ways],
            }
            for name, goal in (("reveal", report.reveal), ("forge", report.forge), ("stop", report.stop))
        },
        "alone": [
            {
                "party": item.party.label,
                "kind": item.party.kind,
                "names": list(item.party.names),
                "reaches": list(item.reaches),
                "sentence": item.sentence,
            }
            for item in report.alone
        ],
        "exposure": [exposure_body(item) for item in facts.exposures],
        "key_epochs": epochs_body(facts.epochs),
        "messages": list(report.messages),
        "proofs": list(facts.proofs),
        "not_counted": list(report.not_counted),
        "not_proven": list(report.not_proven),
    }


def _enclave_body(item: Enclave) -> dict[str, object]:
    return {
        "identity": item.identity,
        "seat": item.seat,
        "operator": item.operator,
        "platform": item.platform,
        "level": item.level,
        "measurement": item.measurement,
        "vendor": item.vendor,
        "simulated": item.is_simulated,
        "lease_ns": item.lease_ns,
        "verified": item.is_verified,
        "doubt": item.doubt,
    }
