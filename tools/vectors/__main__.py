"""Write all vectors anew."""

from __future__ import annotations

import sys

from vectors import families
from vectors.base import DIRECTORY, made


def main() -> int:
    """Write what changed."""
    DIRECTORY.mkdir(exist_ok=True)
    for family in families.ALL:
        path, text = DIRECTORY / f"{family.name}.json", made(family)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"written: {path.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
