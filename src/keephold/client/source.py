"""From a source file to what is deployed.

Types are known only when the source has run, and it may be somebody else's, or never end: so it runs in a process of
its own with limits (`source_child`), which is no sandbox. What comes out is a convenience for whoever deploys. Workers
derive the same inside theirs, and refuse the code if it differs.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, cast

from keephold.base.errors import InputError, SandboxError
from keephold.base.limits import MAX_CODE
from keephold.contract.check import line_text
from keephold.contract.values import Json, canonical
from keephold.protocol.contracts import Code

SECONDS: Final = 30.0
"""Wall time to load a source; its processor time is bounded more tightly (`source_child`)."""


def code_from_source(source: str, name: str = "") -> Code:
    """Return the code of a contract's source.

    The source is run to read its types, in a process of its own with limits on time and memory: it may be somebody
    else's, and it may not end. The process is no sandbox; what the source does there, it does as this user. Workers
    derive the same ABI again, inside theirs, and refuse the code if that differs.

    Raises:
        SandboxError: it makes no contract, with the place; or it takes too long, or too much memory, to load.
        InputError: the class has another name than `name`; or the source is no text.
    """
    try:
        given = source.encode()
    except UnicodeEncodeError as error:
        raise SandboxError("the source holds lone surrogates") from error
    told = _read(given)
    if "error" in told:
        raise SandboxError(str(told["error"]), int(str(told.get("line", 0))), int(str(told.get("column", 0))))
    found, abi = str(told["name"]), cast(Json, told["abi"])
    if name and name != found:
        raise InputError(f"the contract in this file is {found}, not {name}")
    return Code("python", given, found, canonical(abi).encode())


def _read(source: bytes) -> dict[str, object]:
    command = [sys.executable, "-I", "-m", "keephold.client.source_child"]
    try:
        ended = subprocess.run(  # noqa: S603 - our own interpreter and module, no shell
            command, input=source, capture_output=True, env={}, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError("loading the source takes too long") from error
    if -ended.returncode in (signal.SIGXCPU, signal.SIGKILL):
        raise SandboxError("loading the source takes too long")
    try:
        told = json.loads(ended.stdout)
    except ValueError as error:
        raise SandboxError(f"loading the source ended its process with status {ended.returncode}") from error
    if not isinstance(told, dict) or not ({"name", "abi"} <= told.keys() or "error" in told):
        raise SandboxError("the source answered in the place of what reads it")
    return told


def code_from_file(target: str) -> Code:
    """Return the code of `path.py` or `path.py:Class`.

    Raises:
        SandboxError: it makes no contract; with the place.
        InputError: no such file, too large, not text, or another class.
    """
    path, _, name = target.partition(".py:")
    file = Path(path + ".py" if name else target)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    if len(raw) > MAX_CODE:
        raise InputError(f"{file} has {len(raw)} bytes; a contract has at most {MAX_CODE}")
    try:
        source = raw.decode()
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text") from None
    try:
        return code_from_source(source, name)
    except SandboxError as error:
        shown = line_text(source, error.line)
        message = f"{error.message} (in {file.name}: {shown})" if shown else error.message
        raise SandboxError(message, error.line, error.column) from error
