"""`keephold show` and `verify`: what an outsider sees, and why he sees no more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.base.ids import ContractId, PublicKey
from keephold.cli.output import emit
from keephold.cli.place import ON_NETWORK, OnNetwork, contract_address, names
from keephold.client.abi import owned_keys
from keephold.client.network import Network
from keephold.client.outside import (
    OutsideAccount,
    OutsideContract,
    OutsideNetwork,
    outside_account,
    outside_contract,
    outside_network,
)
from keephold.contract.address import Address
from keephold.protocol.state import CommitteeRecord

SIMULATED: Final = (
    "TEE: SIMULATED. The evidence rests on a development vendor: it shows how the proof works, and protects nothing "
    "from the owner of the machine."
)
_SHOWN: Final = 16


def show(
    thing: Annotated[
        str, Parameter(help="A contract, account, worker or gatekeeper, by name or address (default: the network).")
    ] = "",
    *,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Show everything the ledger shows of a network, contract, account or enclave to somebody without keys."""
    pinned = options.pinned()
    address = _address(thing, dict(names(pinned, None))) if thing else None
    with Network.connect(pinned.urls, pinned.genesis) as network:
        if address is None:
            _show_network(network.run(lambda n: outside_network(n.connection)), network, as_json=options.json)
        elif address.kind == "contract":
            contract = ContractId(address.value)
            _show_contract(
                address, network.run(lambda n: outside_contract(n.connection, contract)), as_json=options.json
            )
        else:
            account = PublicKey(address.value)
            _show_account(address, network.run(lambda n: outside_account(n.connection, account)), as_json=options.json)


def verify(
    contract: Annotated[str, Parameter(help="Name or address of a contract.")], *, options: OnNetwork = ON_NETWORK
) -> None:
    """Say who can read a contract, one sentence for each step from the pinned genesis to the hardware vendor."""
    pinned = options.pinned()
    address = contract_address(pinned, contract)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        verified = network.contract(address).verified()
    sentences = verified.argument.sentences
    workers = len(verified.vouchers)
    rules = pinned.genesis.law.committee
    who = (
        f"Only {workers} verified worker enclave{'s' if workers > 1 else ''} can read the state of "
        f"{verified.code.name}; of a call, its sender reads arguments and result too. Nobody else does, unless a "
        f"worker's enclave breaks, or those of {rules.threshold} of {rules.seats} gatekeepers together."
    )
    lines = [who, "", *(f"{number}. {sentence}" for number, sentence in enumerate(sentences, 1))]
    if verified.is_simulated:
        lines += ["", SIMULATED]
    body = {
        "contract": address,
        "epoch": verified.epoch,
        "height": verified.height,
        "who": who,
        "argument": list(sentences),
        "simulated": verified.is_simulated,
        "workers": [
            {
                "identity": voucher.registration.identity,
                "level": voucher.registration.level,
                "measurement": voucher.registration.proof.measurement,
                "vendor": voucher.registration.proof.vendor.name,
                "same_instance": voucher.is_same_instance,
            }
            for voucher in verified.vouchers
        ],
    }
    emit(body, "\n".join(lines), as_json=options.json)


def _address(thing: str, known: dict[str, Address]) -> Address:
    if thing in known:
        return known[thing]
    try:
        return Address.parse(thing)
    except ValueError as error:
        raise InputError(
            f"{thing!r} is no name known here ({', '.join(known) or 'none'}); as an address: {error}"
        ) from None


def _phase(committee: CommitteeRecord) -> str:
    match committee.phase:
        case "short":
            return f"short: fewer than {committee.keys[0].threshold} live, no key is released until others take over"
        case "resharing":
            return f"resharing: {len(committee.successors)} successors receive their shares"
        case phase:
            return phase


def _show_network(seen: OutsideNetwork, network: Network, *, as_json: bool) -> None:
    when = datetime.fromtimestamp(seen.time_ns / 1e9, UTC)
    lines = [
        f"network {network.id.hex()}",
        f"  height {seen.height}   time {when:%Y-%m-%d %H:%M:%S} UTC",
        f"  gatekeepers {len(seen.committee.members)} seated, {_phase(seen.committee)}",
    ]
    enclaves = [
        *(("worker", item, count) for item, count in zip(seen.workers, seen.dissents, strict=True)),
        *(("gatekeeper", item, 0) for item in seen.gatekeepers),
    ]
    lines += [
        f"  {role:<10} {item.identity.hex()[:16]}  {item.status}  level {item.level}  "
        f"measurement {item.measurement.hex()[:16]}  vendor {item.vendor}"
        + (f"  outvoted {dissents} times" if dissents else "")
        for role, item, dissents in enclaves
    ]
    lines += [
        f"  offence    {item.kind} at {item.height} by validator {(item.public_key or item.validator).hex()[:16]} "
        f"(power {item.power}), recorded in block {item.recorded}"
        for item in seen.offences.newest
    ]
    if network.is_simulated:
        lines.append(f"  {SIMULATED}")
    body = {
        "network": network.id,
        "height": seen.height,
        "time_ns": seen.time_ns,
        "simulated": network.is_simulated,
        "committee": {
            "phase": seen.committee.phase,
            "members": list(seen.committee.members),
            "successors": list(seen.committee.successors),
            "sharing_epoch": max((keys.sharing_epoch for keys in seen.committee.keys), default=0),
        },
        "enclaves": [
            {
                "role": role,
                "identity": item.identity,
                "status": item.status,
                "level": item.level,
                "measurement": item.measurement,
                "vendor": item.vendor,
                "lease_ns": item.lease_ns,
                "dissents": dissents,
            }
            for role, item, dissents in enclaves
        ],
        "offences": [
            {
                "kind": item.kind,
                "validator": item.validator,
                "public_key": item.public_key,
                "height": item.height,
                "power": item.power,
                "recorded": item.recorded,
            }
            for item in seen.offences.newest
        ],
    }
    emit(body, "\n".join(lines), as_json=as_json)


def _show_account(address: Address, seen: OutsideAccount, *, as_json: bool) -> None:
    body: dict[str, object] = {
        "account": address,
        "nonce": seen.record.nonce,
        "permit_generation": seen.record.generation,
    }
    lines = [
        f"account {address}",
        f"  transactions {seen.record.nonce}   permit generation {seen.record.generation}",
    ]
    enclave = seen.registration
    if enclave is not None:
        contracts = [Address.contract(item) for item in seen.contracts]
        body["enclave"] = {
            "role": enclave.role,
            "status": enclave.status,
            "level": enclave.level,
            "operator": Address.account(enclave.operator),
            "platform": enclave.platform,
            "lease_ns": enclave.lease_ns,
            "contracts": contracts,
        }
        lines += [
            f"  {enclave.role:<12} {enclave.status}  level {enclave.level}",
            f"  operator     {Address.account(enclave.operator)}",
            *(f"  runs         {contract}" for contract in contracts),
        ]
    if seen.dissents.count:
        body["dissents"] = {
            "count": seen.dissents.count,
            "newest": [
                {
                    "contract": Address.contract(item.contract),
                    "kind": item.kind,
                    "version": item.version,
                    "vote": item.vote,
                    "registration": item.registration,
                    "accepted": item.accepted,
                    "height": item.height,
                }
                for item in seen.dissents.newest
            ],
        }
        lines += [
            f"  outvoted     on the {item.kind} after version {item.version} of {Address.contract(item.contract)}, "
            f"block {item.height}: said {item.vote.hex()[:16]}, accepted {item.accepted.hex()[:16]}"
            for item in seen.dissents.newest
        ]
    emit(body, "\n".join(lines), as_json=as_json)


def _show_contract(address: Address, seen: OutsideContract, *, as_json: bool) -> None:
    record, code = seen.deployment.record, seen.deployment.code
    facts = {
        "class": code.name,
        "creator": Address.account(record.creator),
        "code": record.code,
        "phase": record.phase,
        "epoch": record.epoch,
        "policy": {
            "level": record.policy.level,
            "workers": record.policy.workers,
            "quorum": record.policy.quorum,
        },
        "keys": list(owned_keys(code.abi)),
        "workers": list(record.workers),
        "suspended": list(record.suspended),
        "calls": record.inbox_count,
        "consumed": record.done,
        "state_version": record.version,
        "state_root": record.state_root,
    }
    lines = [f"contract {address}"]
    lines += [f"  {name:<14} {value.hex() if isinstance(value, bytes) else value}" for name, value in facts.items()
              if name not in ("workers", "suspended", "policy", "keys")]  # fmt: skip
    lines += [f"  worker         {worker.hex()}" for worker in record.workers]
    lines += [f"  suspended      {worker.hex()}" for worker in record.suspended]
    lines += [f"  owns key       {key}" for key in owned_keys(code.abi)]
    lines.append(f"  slots          {len(seen.slots)}: tag, size, sealed value")
    lines += [
        f"    {slot.tag.hex()[:24]}…  {len(slot.value):>6} B  …{slot.value[len(slot.value) // 2 :][:24].hex()}…"
        for slot in seen.slots[:_SHOWN]
    ]
    if len(seen.slots) > _SHOWN:
        lines.append(f"    … and {len(seen.slots) - _SHOWN} more (--json lists all)")
    body = {
        "contract": address,
        **facts,
        "slots": [{"tag": slot.tag, "sealed": slot.value} for slot in seen.slots],
    }
    emit(body, "\n".join(lines), as_json=as_json)
