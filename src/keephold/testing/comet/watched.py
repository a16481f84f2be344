"""A simulated enclave that keeps a diary of the keys it releases: `keephold.testing.enclave`, watched from inside.

Each release becomes a line in `HOME/releases` before it leaves: the height of the request, and the head on which the
gatekeeper decided. So it can be asked afterwards whether that head was final. Nothing secret is in it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from keephold.protocol.transactions import KeyRelease
from keephold.testing import enclave

FILE: Final = "releases"


class Release(msgspec.Struct, frozen=True):
    """One release."""

    requested: int
    """Height of the block with the request."""
    height: int
    """Of the header under which the request was found justified."""
    header_hash: bytes


def releases(home: Path) -> list[Release]:
    """Return the diary of the enclave of this home."""
    path = home / FILE
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Release) for line in lines]


def watch(home: Path) -> None:
    """Let the gatekeeper of this process keep a diary."""
    from keephold.gatekeeper import requests, service

    original = requests.answer

    def answer(justified: requests.Justified, *others: Any) -> KeyRelease:
        release = Release(justified.request.height, justified.height, justified.header_hash)
        with (home / FILE).open("ab") as diary:
            diary.write(msgspec.json.encode(release) + b"\n")
        return original(justified, *others)

    setattr(service, "answer", answer)  # noqa: B010 - where the gatekeeper imported it to


if __name__ == "__main__":
    role, _, config = sys.argv[1:4]
    if role == "gatekeeper":
        watch(Path(config).with_suffix(""))
    sys.exit(enclave.main())
