"""A simulated enclave that keeps diaries: `keephold.testing.enclave`, watched from inside. Nothing secret is in them.

`HOME/releases`: each key release before it leaves: the height of the request, and the head on which the gatekeeper
decided. So it can be asked afterwards whether that head was final.

`HOME/refusals`: each time that what a node told did not follow from what is trusted: the error's code and words.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from keephold.base.errors import ChainRefused, RollbackDetected
from keephold.protocol.transactions import KeyRelease
from keephold.testing import enclave

FILE: Final = "releases"
REFUSALS: Final = "refusals"


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


def refusals(home: Path) -> list[str]:
    """Return the refusals of the enclave of this home."""
    path = home / REFUSALS
    return path.read_text().splitlines() if path.exists() else []


def watch_refusals(home: Path) -> None:
    """Let every refusal in this process be written down where it is made."""
    for error in (ChainRefused, RollbackDetected):
        original = error.__init__

        def noted(self: Any, *arguments: Any, _original: Any = original) -> None:
            _original(self, *arguments)
            with (home / REFUSALS).open("a") as diary:
                diary.write(f"{self.code}: {self}\n".replace("\n", " ").rstrip() + "\n")

        setattr(error, "__init__", noted)  # noqa: B010 - mypy takes no assignment to a method


if __name__ == "__main__":
    role, _, config = sys.argv[1:4]
    place = Path(config).with_suffix("")
    place.mkdir(parents=True, exist_ok=True)
    watch_refusals(place)
    if role == "gatekeeper":
        watch(place)
    sys.exit(enclave.main())
