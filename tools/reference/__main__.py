"""Write the generated sections, or say which are stale."""

from __future__ import annotations

import sys

from reference import scaling
from reference.pictures import phases_svg
from reference.sections import DOCS, filled, pages


def main() -> int:
    """Return 1 when `--check` finds a stale page."""
    stale = [path for path in pages() if filled(path.read_text(encoding="utf-8")) != path.read_text(encoding="utf-8")]
    for path in stale:
        print(("stale: " if "--check" in sys.argv else "written: ") + str(path.relative_to(DOCS)))
        if "--check" not in sys.argv:
            path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    if "--check" not in sys.argv:
        (DOCS / "spec" / "ceremony.svg").write_text(phases_svg(), encoding="utf-8")
        for name, plot in scaling.plots().items():
            (scaling.PLACE / name).write_text(plot, encoding="utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
