"""`keephold client`: write a typed Python client from a contract's interface."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.cli.output import emit
from keephold.cli.place import ON_NETWORK, OnNetwork, contract_address
from keephold.client.generate import client_module
from keephold.client.network import Network
from keephold.client.source import code_from_file


def client(
    contract: Annotated[
        str, Parameter(help="Name or address of a contract, path/to/file.py or path/to/file.py:Class.")
    ],
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="File to write (default: print it).")] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Write a Python module with a typed client: methods, records, events and rejections.

    Of a deployed contract the interface is the one that its verified code says.
    """
    if contract.endswith(".py") or ".py:" in contract:
        text = client_module(code_from_file(contract).abi)
    else:
        pinned = options.pinned()
        address = contract_address(pinned, contract)
        with Network.connect(pinned.urls, pinned.genesis) as network:
            text = client_module(network.contract(address).verified().code.abi, address)
    if out is None:
        emit({"module": text}, text.rstrip("\n"), as_json=options.json)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}") from error
    emit({"file": out}, f"written: {out}", as_json=options.json)
