"""`keephold new`: a project with a contract, its test, a script that deploys it, and a file for CI; green at once."""

from __future__ import annotations

import keyword
import re
import string
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.cli.output import emit
from keephold.cli.place import SHARED, Shared
from keephold.version import __version__

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TEMPLATES: Final = Path(__file__).parent / "templates"
_FILES: Final = {
    "contracts/$module.py": "contract.py.tmpl",
    "tests/test_$module.py": "test.py.tmpl",
    "deploy.py": "deploy.py.tmpl",
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "readme.md.tmpl",
    ".github/workflows/test.yml": "ci.yml.tmpl",
}
"""Path in the project to template. `.tmpl`, so that no tool takes them for sources."""


def new(
    name: Annotated[str, Parameter(help="Name of project and contract: lower-case letters, digits, underscores.")],
    *,
    shared: Shared = SHARED,
) -> None:
    """Make a directory with a contract, its test, a deploy script and a CI file."""
    module = check_name(name)
    names = {"module": module, "class": class_name(module), "version": __version__}
    root = Path(name)
    try:
        root.mkdir()
    except OSError as error:
        raise InputError(f"{root}: {error.strerror}") from error
    written = []
    for path, template in _FILES.items():
        target = root / string.Template(path).substitute(names)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = (_TEMPLATES / template).read_text(encoding="utf-8")
        target.write_text(string.Template(content).substitute(names), encoding="utf-8")
        written.append(target)
    lines = [*map(str, written), f"now: cd {root} && keephold test"]
    emit({"directory": root, "files": [str(path) for path in written]}, "\n".join(lines), as_json=shared.json)


def check_name(name: str) -> str:
    """Return a name that can be a module's, beside Python's own.

    Raises:
        InputError: it cannot.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(f"{name!r}: a name is lower-case letters, digits and underscores, 40 at most, a letter first")
    if keyword.iskeyword(name):
        raise InputError(f"{name} is a word of Python's own: no module can be imported by it")
    if name in sys.stdlib_module_names or name == "keephold":
        raise InputError(f"{name} is the name of a module that Python already has: its tests would import that one")
    return name


def class_name(module: str) -> str:
    """Return `FooBar` for `foo_bar`."""
    return "".join(part.capitalize() for part in module.split("_")) or module.capitalize()
