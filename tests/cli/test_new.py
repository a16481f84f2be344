"""A new project is green at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from keephold.base.errors import InputError
from keephold.cli import main
from keephold.cli.new import check_name, class_name
from keephold.contract.check import check_source
from keephold.version import __version__


def keephold(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "keephold"), *arguments]
    return subprocess.run(
        command, cwd=directory, env=os.environ, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture
def project(tmp_path, monkeypatch, capsys) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main.run(["new", "gold_bar"]) == 0
    assert "keephold test" in capsys.readouterr().out
    return tmp_path / "gold_bar"


def test_a_new_project_is_green(project):
    ended = keephold(project, "test", "--", "-q", "-p", "no:cacheprovider")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2 passed" in ended.stdout


def test_its_files_are_whole(project):
    paths = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert paths == {
        "contracts/gold_bar.py",
        "tests/test_gold_bar.py",
        "deploy.py",
        "pyproject.toml",
        "README.md",
        ".github/workflows/test.yml",
    }
    for path in paths:
        assert "$" not in (project / path).read_text(), path
    assert check_source((project / "contracts" / "gold_bar.py").read_text()).name == "GoldBar"
    compile((project / "deploy.py").read_text(), "deploy.py", "exec")


def test_its_ci_installs_this_version_and_runs_what_is_green_here(project):
    workflow = (project / ".github" / "workflows" / "test.yml").read_text()
    steps = re.findall(r"^ +- run: (.+)$", workflow, re.MULTILINE)
    assert steps == [f'pip install "keephold[test]=={__version__}"', "keephold test"]
    assert "contents: read" in workflow
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert "test" in extras


def test_a_red_test_is_pytests_status(project):
    test = project / "tests" / "test_gold_bar.py"
    test.write_text(test.read_text().replace("== 95", "== 94"))
    ended = keephold(project, "test", "--json", "--", "-p", "no:cacheprovider")
    assert ended.returncode == 1
    assert json.loads(ended.stdout) == {"passed": False, "pytest_status": 1}
    assert "assert 95 == 94" in ended.stderr


def test_nothing_is_overwritten(project, capsys):
    assert main.run(["new", "gold_bar"]) == 2
    assert "File exists" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "Gold", "1x", "a-b", "a/b", "token", "class", "keephold", "x" * 41])
def test_names_that_cannot_be(name):
    with pytest.raises(InputError):
        check_name(name)


def test_class_names():
    assert [class_name(check_name(name)) for name in ("gold", "gold_bar", "a__b_")] == ["Gold", "GoldBar", "AB"]
