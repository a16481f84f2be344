"""The error tree: code, exit status, and what each error says of itself."""

from __future__ import annotations

from collections.abc import Iterator

from keephold.attestation import reasons
from keephold.base.errors import KeepholdError
from reference.source import class_node, definitions, sentence, table


def error_table() -> str:
    """Return every error with its stable code and the exit status of a command that ends with it."""
    rows = [
        (
            f"{'&nbsp;' * 4 * depth}`{kind.__name__}`",
            f"`{kind.code}`",
            str(kind.exit_status),
            sentence(kind.__doc__ or ""),
        )
        for kind, depth in _tree(KeepholdError, 0)
    ]
    return table(("error", "code", "exit", ""), rows)


def reason_table() -> str:
    """Return the reasons of `AttestationRefused`."""
    words = definitions(class_node(reasons, "Reason").body)
    return table(("reason", ""), [(f"`{item.value.strip(chr(39))}`", sentence(item.doc)) for item in words])


def _tree(kind: type[KeepholdError], depth: int) -> Iterator[tuple[type[KeepholdError], int]]:
    yield kind, depth
    for below in kind.__subclasses__():
        if below.__module__ == KeepholdError.__module__:
            yield from _tree(below, depth + 1)
