"""`keephold events`: what a contract told an account, and everybody."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.cli.output import emit, plain
from keephold.cli.place import AS_ACCOUNT, AsAccount, contract_address
from keephold.client.events import ContractEvent
from keephold.client.network import Network


def events(
    contract: Annotated[str, Parameter(help="Name or address of a contract.")],
    *,
    since: Annotated[int, Parameter(help="Only of calls after this inbox entry.")] = 0,
    public: Annotated[bool, Parameter(negative="", help="Only the public ones; no account is needed.")] = False,
    options: AsAccount = AS_ACCOUNT,
) -> None:
    """Print the events that an account can open, and the public ones, in order."""
    if since < 0:
        raise InputError("--since counts inbox entries from 1")
    pinned = options.pinned()
    account = None if public else options.account(pinned)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        handle = network.contract(contract_address(pinned, contract))
        found = handle.events(account=account, since=since, deadline=options.seconds())
    body = {
        "contract": handle.address,
        "events": [
            {"entry": event.entry, "name": event.name, "public": event.public, "fields": event.fields}
            for event in found
        ],
    }
    emit(body, "\n".join(_line(event) for event in found) or "no events", as_json=options.json)


def _line(event: ContractEvent) -> str:
    fields = ", ".join(f"{name}={plain(value)}" for name, value in event.fields.items())
    return f"{event.entry:>6}  {event.name}({fields}){'  public' if event.public else ''}"
