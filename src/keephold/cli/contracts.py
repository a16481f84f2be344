"""`keephold deploy`, `call` and `view`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.cli.arguments import parse_words, spelled
from keephold.cli.output import emit, plain, readable
from keephold.cli.permit import read_session
from keephold.cli.place import AS_ACCOUNT, AsAccount, contract_address, names
from keephold.client.abi import parse_abi
from keephold.client.account import Reader
from keephold.client.deployment import PROGRESS
from keephold.client.network import Network
from keephold.client.pinned import PinnedNetwork
from keephold.client.source import code_from_file
from keephold.protocol.contracts import ContractPolicy

Words = Annotated[str, Parameter(allow_leading_hyphen=False)]
YesOption = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")]


def deploy(
    source: Annotated[str, Parameter(help="path/to/file.py, or path/to/file.py:Class")],
    *words: Words,
    name: Annotated[str, Parameter(help="Name for the contract on this machine (default: its class).")] = "",
    level: Annotated[int, Parameter(help="Worst confidence level of a worker, 1 to 5.")] = 2,
    workers: Annotated[int, Parameter(help="How many workers run it.")] = 1,
    quorum: Annotated[int, Parameter(help="How many workers must agree on each result.")] = 1,
    options: AsAccount = AS_ACCOUNT,
) -> None:
    """Put a contract on the ledger and set it up with the arguments that follow."""
    if not 1 <= level <= 5 or workers < 1 or quorum < 1:
        raise InputError("--level is 1 to 5; --workers and --quorum are at least 1")
    code = code_from_file(source)
    pinned = options.pinned()
    account = options.account(pinned)
    init = parse_abi(code.abi).init
    arguments, named = parse_words(init, words, names(pinned, options.keystore)) if init else (list[object](words), {})
    if init is None and words:
        raise InputError(f"{code.name} takes no arguments: it has no @init method")
    with Network.connect(pinned.urls, pinned.genesis) as network:
        contract = network.deploy(
            code,
            *arguments,
            account=account,
            policy=ContractPolicy(level, workers, quorum),
            deadline=options.seconds(60.0),
            progress=_progress(quiet=options.json),
            **named,
        )
    known_as = name or code.name
    pinned.name_contract(known_as, contract.address)
    body = {"name": known_as, "address": contract.address, "class": code.name}
    emit(body, f"{known_as}  {contract.address}", as_json=options.json)


def call(
    contract: Annotated[str, Parameter(help="Name or address of a contract.")],
    method: str,
    *words: Words,
    yes: YesOption = False,
    options: AsAccount = AS_ACCOUNT,
) -> None:
    """Call a contract and print what it returned, once the result is proven."""
    deadline = options.seconds()
    pinned = options.pinned()
    account = options.account(pinned)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        handle = network.contract(contract_address(pinned, contract))
        described = handle.abi().method(method, "call", "init")
        arguments, named = parse_words(described, words, names(pinned, options.keystore))
        described.encode(arguments, named)
        if not yes:
            _confirm(
                f"{account.name} ({account.address}) calls {handle.abi().name} at {handle.address}:\n"
                f"  {method}({spelled(arguments, named)})\n"
                f"Sealed: nobody but you and the contract reads it. Public: you, the contract, the time, a size bucket."
            )
        sent = handle.submit(method, *arguments, account=account, **named)
        value = sent.wait(deadline)
    body = {"transaction": sent.id, "value": plain(value)}
    emit(body, "done" if value is None else readable(value), as_json=options.json)


def view(
    contract: Annotated[str, Parameter(help="Name or address of a contract.")],
    method: str,
    *words: Words,
    permit: Annotated[Path | None, Parameter(help="Ask under the permit and key in this file, as its issuer.")] = None,
    options: AsAccount = AS_ACCOUNT,
) -> None:
    """Ask a contract a question and print its answer."""
    pinned = options.pinned()
    reader = _reader(permit, options, pinned)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        handle = network.contract(contract_address(pinned, contract))
        described = handle.abi().method(method, "view")
        arguments, named = parse_words(described, words, names(pinned, options.keystore))
        value = handle.query(method, *arguments, account=reader, deadline=options.seconds(), **named)
    emit({"value": plain(value)}, readable(value), as_json=options.json)


def _reader(permit: Path | None, options: AsAccount, pinned: PinnedNetwork) -> Reader:
    if permit is None:
        return options.account(pinned)
    if options.as_:
        raise InputError("--permit says in whose name is asked: leave out --as")
    return read_session(permit)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise InputError("nothing was sent: there is no terminal to ask on, so give --yes")
    print(question, file=sys.stderr)
    if input("Send it? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("nothing was sent")


def _progress(*, quiet: bool) -> Callable[[str], None]:
    def tell(stage: str) -> None:
        if not quiet:
            print(f"  {PROGRESS.get(stage, stage)}…", file=sys.stderr)

    return tell
