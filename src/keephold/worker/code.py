"""A contract's code as its worker executes it: what the deployment says, with what every execution needs of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from keephold.base.errors import SandboxError
from keephold.base.ids import ContractId, PublicKey
from keephold.base.limits import MAX_SLOT_VALUE
from keephold.contract.address import Address
from keephold.contract.model import MAX_FIRST_PAD
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.runtime.effects import declared_keys
from keephold.runtime.outcome import ContractInfo


@final
@dataclass(frozen=True, slots=True)
class ContractCode:
    """Verified code; the caller took it from `follower.contracts.VerifiedDeployment`."""

    contract: ContractId
    creator: PublicKey
    policy: ContractPolicy
    source: str
    name: str
    abi: bytes
    keys: frozenset[tuple[str, str]]
    """Label and scheme of each key that it declares; with none, the contract's signing seed is never asked for."""
    buckets: tuple[int, ...]
    """Sizes to which everything sealed is padded."""
    scopes: Mapping[str, str | None]
    """Of each view, by its name: the word that a permit needs; None for a view that anybody may ask."""
    contract_text: str
    creator_text: str
    tells_failures: bool
    """Whether receipts of failed calls say why. An exception's text may hold other people's data, so only where
    nothing is confidential anyway: in networks of a development vendor."""


def contract_code(
    contract: ContractId, creator: PublicKey, code: Code, policy: ContractPolicy, *, tells_failures: bool
) -> ContractCode:
    """Return the code ready for use.

    Raises:
        SandboxError: its source is no text, or its ABI names no usable sizes: the reason to refuse it on the ledger.
    """
    try:
        source = code.source.decode()
        abi = json.loads(code.abi)
        pad = abi["pad"]
        scopes = {
            str(name): None if method.get("public", False) else str(method["scope"])
            for name, method in abi["methods"].items()
            if method["kind"] == "view"
        }
        keys = declared_keys(code.abi)
    except (UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SandboxError("the source is no text, or the ABI no ABI") from error
    if not isinstance(pad, list) or not pad or any(type(size) is not int for size in pad):
        raise SandboxError("the ABI names no padding buckets")
    if not 0 < pad[0] <= MAX_FIRST_PAD or pad[-1] > MAX_SLOT_VALUE or pad != sorted(set(pad)):
        raise SandboxError(f"padding buckets rise from at most {MAX_FIRST_PAD} to at most {MAX_SLOT_VALUE} bytes")
    return ContractCode(
        contract=contract,
        creator=creator,
        policy=policy,
        source=source,
        name=code.name,
        abi=code.abi,
        keys=keys,
        buckets=tuple(pad),
        scopes=scopes,
        contract_text=Address.contract(contract).text,
        creator_text=Address.account(creator).text,
        tells_failures=tells_failures,
    )


def check_loaded(code: ContractCode, loaded: ContractInfo) -> None:
    """Check that the sandbox derives the interface that the deployment promises its users.

    Raises:
        SandboxError: another class, or another interface.
    """
    if loaded.name != code.name:
        raise SandboxError(f"the source declares {loaded.name}, the deployment {code.name}")
    if loaded.abi_json.encode() != code.abi:
        raise SandboxError("the source has another interface than the deployment says")
