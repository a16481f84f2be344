"""From a source file to what is deployed."""

from __future__ import annotations

from pathlib import Path

from keephold.base.errors import InputError, SandboxError
from keephold.base.limits import MAX_CODE
from keephold.contract.check import SourceError, check_source
from keephold.contract.values import canonical
from keephold.protocol.contracts import Code


def code_from_source(source: str, name: str = "") -> Code:
    """Return the code of a contract's source.

    The source is loaded in this process to read its types: it is the author's own. Workers derive the same ABI again,
    inside the sandbox, and refuse the code if theirs differs.

    Raises:
        SandboxError: it makes no contract; with the line.
        InputError: the class has another name than `name`.
    """
    try:
        info = check_source(source)
    except SourceError as error:
        raise SandboxError(error.message, error.line) from error
    if name and name != info.name:
        raise InputError(f"the contract in this file is {info.name}, not {name}")
    return Code("python", source.encode(), info.name, canonical(info.abi).encode())


def code_from_file(target: str) -> Code:
    """Return the code of `path.py` or `path.py:Class`.

    Raises:
        SandboxError: it makes no contract; with the line.
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
        return code_from_source(raw.decode(), name)
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text") from None
