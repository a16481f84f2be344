"""`python -m keephold` is `keephold`."""

from __future__ import annotations

from keephold.cli.main import main

if __name__ == "__main__":
    main()
