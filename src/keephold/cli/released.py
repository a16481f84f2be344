"""`keephold released`: a signature that a contract made for an account."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from keephold.cli.output import emit
from keephold.cli.place import AS_ACCOUNT, AsAccount, contract_address
from keephold.client.network import Network


def released(
    contract: Annotated[str, Parameter(help="Name or address of a contract.")],
    topic: Annotated[str, Parameter(help="Under which the contract released it.")],
    *,
    wait: Annotated[bool, Parameter(negative="", help="Wait until it is released, or the time is over.")] = False,
    options: AsAccount = AS_ACCOUNT,
) -> None:
    """Print a signature that a contract released to an account, once the ledger accepted the call that asked for it."""
    pinned = options.pinned()
    account = options.account(pinned)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        handle = network.contract(contract_address(pinned, contract))
        found = handle.released(topic, account=account, wait=wait, deadline=options.seconds())
    body = {
        "contract": handle.address,
        "topic": found.topic,
        "scheme": found.scheme,
        "key": "/".join((found.label, *found.path)),
        "public": found.public.hex(),
        "message": found.message.hex(),
        "signature": found.signature.hex(),
    }
    lines = [f"{name:<10} {text}" for name, text in body.items() if name != "contract"]
    emit(body, "\n".join(lines), as_json=options.json)
