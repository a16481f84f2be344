"""Delete the listed checks one at a time, and see that the test named for each notices.

`mutants.toml` lists checks out of the tables of docs/threat-model.md: a fragment of source, what is put in its place,
and the one test that has to fail. Each is applied to a copy of the tree, never in place. A mutant that survives is a
check that nobody would miss: then the table is wrong, or a test is missing.

    python tools/mutants.py                 all of them, two at a time
    python tools/mutants.py --only G4 G6    two guarantees
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".toml")
COPIED = ("src", "tests", "examples", "docs", "tools", "pyproject.toml", "README.md", "Makefile", ".importlinter")
TIMEOUT_SECONDS = 120.0
FAILED = 1
"""What pytest returns when tests failed; others mean that nothing was tested."""


@dataclass(frozen=True)
class Mutant:
    """One listed check, deleted."""

    guarantee: str
    file: str
    """Below src/keephold."""
    function: str
    before: str
    after: str
    test: str
    """Below tests, with `::` and the function's name."""

    @property
    def path(self) -> str:
        """Below the root."""
        return f"src/keephold/{self.file}"

    @property
    def check(self) -> str:
        """As the table names it."""
        return f"{self.file}: {self.function}"

    def applied(self, source: str) -> str:
        """Return the source without the check; the fragment has to be there exactly once."""
        if source.count(self.before) != 1:
            raise ValueError(f"{self.check}: the fragment occurs {source.count(self.before)} times")
        return source.replace(self.before, self.after)


def read_list(path: Path = LIST) -> tuple[Mutant, ...]:
    """Return what is listed."""
    return tuple(Mutant(**entry) for entry in tomllib.loads(path.read_text())["mutant"])


class Tree:
    """A copy of the tree in which one check at a time is missing."""

    def __init__(self, root: Path) -> None:
        """Copy what tests need."""
        self.root = root
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, root / name)
        self._stamp = time.time()

    def test(self, tests: Sequence[str], timeout: float = TIMEOUT_SECONDS) -> tuple[int, str]:
        """Run tests in this tree; return pytest's status and its last words."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root / "src"),
            "PYTHONPYCACHEPREFIX": str(self.root / "pycache"),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=line"]
        ids = [f"tests/{test}" for test in tests]
        try:
            ran = subprocess.run(
                [*command, *ids],
                cwd=self.root,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return FAILED, "did not end"
        return ran.returncode, "\n".join((ran.stdout + ran.stderr).splitlines()[-12:])

    def test_mutant(self, mutant: Mutant) -> tuple[int, str]:
        """Run the named test without the check."""
        path = self.root / mutant.path
        source = path.read_text()
        try:
            self._write(path, mutant.applied(source))
            return self.test([mutant.test])
        finally:
            self._write(path, source)

    def _write(self, path: Path, source: str) -> None:
        """Write with a time of its own: compiled modules are recognised by time and size, which may be equal."""
        path.write_text(source)
        self._stamp += 2
        os.utime(path, (self._stamp, self._stamp))


def main() -> int:
    """Run the list; return 1 if a mutant survived or could not be tested."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=[], help="guarantees, or parts of a check's name")
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    mutants = [
        mutant
        for mutant in read_list()
        if not chosen.only or any(word == mutant.guarantee or word in mutant.check for word in chosen.only)
    ]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="keephold-mutants-") as directory:
        trees: queue.Queue[Tree] = queue.Queue()
        for number in range(chosen.jobs):
            trees.put(Tree(Path(directory) / str(number)))
        tree = trees.get()
        status, words = tree.test(sorted({mutant.test for mutant in mutants}), timeout=20 * TIMEOUT_SECONDS)
        trees.put(tree)
        if status:
            print(f"the named tests fail without any mutant:\n{words}")
            return 1

        def run(mutant: Mutant) -> tuple[Mutant, int, str]:
            tree = trees.get()
            try:
                return mutant, *tree.test_mutant(mutant)
            finally:
                trees.put(tree)

        bad = 0
        with ThreadPoolExecutor(chosen.jobs) as pool:
            for mutant, status, words in pool.map(run, mutants):
                verdict = {FAILED: "killed", 0: "SURVIVED"}.get(status, "BROKEN")
                print(f"{verdict:9} {mutant.guarantee:4} {mutant.check:62} {mutant.test}", flush=True)
                if status != FAILED:
                    bad += 1
                    print(f"          {mutant.before.strip()!r}\n{words if status else ''}")
    print(f"{len(mutants) - bad} of {len(mutants)} killed in {time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
