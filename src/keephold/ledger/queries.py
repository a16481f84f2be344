"""What CometBFT's `abci_query` may ask: values of the map by path or by name, with proofs.

    path                     data                      value at
    /map                     the path itself, 32 B     any path
    /account/kh1…                                      `AccountRecord`
    /registration/kh1…                                 `Registration` of a worker or gatekeeper
    /contract/khc1…                                    `ContractRecord`
    /roll/worker, /roll/gatekeeper                     `Roll`
    /committee, /governance                            `CommitteeRecord`, `GovernanceRecord`

The answer names the path as its key, and its proof leads to the app hash of the height that it names, which is in the
header of the next. Values are canonical CBOR (`protocol.state`); an absent one is empty, with a proof of absence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from keephold.base.errors import InputError
from keephold.base.ids import ContractId, PublicKey
from keephold.chain.sparse import KEY_SIZE
from keephold.contract.address import Address
from keephold.protocol.state import (
    account_path,
    committee_path,
    contract_path,
    governance_path,
    registration_path,
    roll_path,
)

_ROLES: Final = ("worker", "gatekeeper")


def path_of(query: str, data: bytes) -> bytes:
    """Return the map's path that a query means.

    Raises:
        InputError: it means none; the message lists what could be asked.
    """
    name, _, argument = query.strip("/").partition("/")
    if name == "map" and not argument and len(data) == KEY_SIZE:
        return data
    resolve = _NAMED.get(name)
    if resolve is None:
        raise InputError(f"ask /map with a path of {KEY_SIZE} bytes as data, or one of /{', /'.join(_NAMED)}")
    return resolve(argument)


def _account(text: str) -> PublicKey:
    return PublicKey(_address(text, "account"))


def _address(text: str, kind: str) -> bytes:
    try:
        address = Address.parse(text)
    except ValueError as error:
        raise InputError(f"not an address: {error}") from error
    if address.kind != kind:
        raise InputError(f"{text} is no {kind}'s address")
    return bytes(address)


def _roll(role: str) -> bytes:
    if role not in _ROLES:
        raise InputError(f"a roll is of {' or '.join(_ROLES)}")
    return roll_path(role)


def _alone(path: bytes) -> Callable[[str], bytes]:
    def resolve(argument: str) -> bytes:
        if argument:
            raise InputError(f"nothing follows, but {argument!r} does")
        return path

    return resolve


_NAMED: Final[dict[str, Callable[[str], bytes]]] = {
    "account": lambda text: account_path(_account(text)),
    "registration": lambda text: registration_path(_account(text)),
    "contract": lambda text: contract_path(ContractId(_address(text, "contract"))),
    "roll": _roll,
    "committee": _alone(committee_path()),
    "governance": _alone(governance_path()),
}
