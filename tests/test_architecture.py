"""The import rules speak of packages that exist, the author's vocabulary is cheap to import, and no test is timed."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from pathlib import Path

from hypothesis import HealthCheck

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "keephold"


def wildcard_names() -> set[str]:
    """Return every `*.package.module` that the import contracts mention."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return {
        line.strip()[2:]
        for section in parser.sections()
        for value in parser[section].values()
        for line in value.splitlines()
        if line.strip().startswith("*.")
    }


def test_every_name_in_the_import_contracts_resolves():
    """A rename would otherwise silence its contract."""
    missing = [
        name
        for name in wildcard_names()
        if (SOURCE / name.split(".")[0]).exists()
        and not (SOURCE / Path(*name.split("."))).is_dir()
        and not (SOURCE / Path(*name.split("."))).with_suffix(".py").is_file()
    ]
    assert missing == []


def test_contract_code_imports_the_standard_library_only():
    for path in (SOURCE / "contract").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names or name.startswith("keephold.contract"), f"{path}: {name}"


def test_importing_keephold_is_light():
    heavy = {"httpx2", "starlette", "uvicorn", "cryptography", "wasmtime", "apsw", "asyncio", "msgspec", "cbor2"}
    code = "import sys, keephold; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert heavy & set(loaded) == set()


def test_labels_are_registered_in_one_module():
    for path in SOURCE.rglob("*.py"):
        if path.name != "labels.py":
            assert "Label(" not in path.read_text(), path


def test_no_property_is_timed(request):
    """Of all that was collected with this: settings of a test's own take the place of the profile's, one by one."""
    found = []
    for item in request.session.items:
        found.append((item, getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)))
        found.append((item, getattr(item.cls, "settings", None) if item.name == "runTest" else None))
    timed = [
        item.nodeid
        for item, own in found
        if own and (own.deadline is not None or HealthCheck.too_slow not in own.suppress_health_check)
    ]
    assert timed == [], "deadline=None, and suppress_health_check with HealthCheck.too_slow"
