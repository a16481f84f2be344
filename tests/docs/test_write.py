"""The guide for contract authors: every command runs, every contract loads, every test in it passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from keephold.base.errors import SandboxError
from keephold.client.source import code_from_file
from keephold.contract.check import check_source

PAGES = sorted((Path(__file__).parents[2] / "docs" / "write").glob("*.md"))


@pytest.mark.slow
def test_the_first_five_minutes(place, devnet, page):
    steps = page("write/start.md").commands()
    assert steps[:4] == ["keephold new gold", "cd gold", "keephold test", "keephold devnet"]
    place.run(steps[0])
    outputs = {step: place.run(step, place.directory / "gold") for step in steps[2:] if step != "keephold devnet"}
    assert outputs["keephold view Gold balance --as bob"].strip() == "5"
    assert "amount=5" in outputs["keephold events Gold --as bob"]
    assert "pinned genesis" in outputs["keephold verify Gold"]


@pytest.mark.slow
def test_the_page_on_permits(place, devnet, page, tmp_path):
    place.run("keephold new gold", tmp_path)
    project = tmp_path / "gold"
    place.run("keephold deploy contracts/gold.py:Gold 1000 --as alice", project)
    place.run("keephold call Gold transfer bob 5 --as alice --yes", project)
    *steps, revoke, revoke_all = page("write/permits.md").commands()
    outputs = {step: place.run(step, project) for step in steps}
    asked = next(step for step in steps if step.startswith("keephold view"))
    assert outputs[asked].strip() == "5"
    assert "yearly audit" in outputs["keephold permit show audit.permit"]
    assert (project / "audit.permit").stat().st_mode & 0o777 == 0o600
    (script,) = page("write/permits.md").blocks("python")
    (project / "ask.py").write_text(script)
    assert place.run("python ask.py", project).strip() == "5"
    place.run(revoke, project)
    refused = f"{asked} 2>&1; test $? = 13"
    assert "permit_revoked" in place.run(refused, project)
    assert "void" in place.run(revoke_all, project)
    new = next(step for step in steps if step.startswith("keephold permit new"))
    place.run(new, project)
    assert place.run(asked, project).strip() == "5"
    place.run(new.replace("balance", "transfers"), project)
    assert "permit_scope" in place.run(refused, project)


@pytest.mark.slow
def test_the_page_on_typed_clients(place, devnet, page, tmp_path):
    place.run("keephold new gold", tmp_path)
    project = tmp_path / "gold"
    place.run("keephold deploy contracts/gold.py:Gold 1000 --as alice", project)
    from_file, deployed = page("write/clients.md").commands()
    assert "written" in place.run(from_file, project)
    written = (project / "gold_client.py").read_text()
    assert "written" in place.run(deployed, project)
    assert "ADDRESS: _Final" in (project / "gold_client.py").read_text()
    (project / "gold_client.py").write_text(written)
    for at, script in enumerate(page("write/clients.md").blocks("python")):
        (project / f"use{at}.py").write_text(script)
        assert place.run(f"python use{at}.py", project).split()[-1] == str(5 + 2 * at)


@pytest.mark.slow
def test_the_page_on_testing(place, page, tmp_path):
    place.run("keephold new gold", tmp_path)
    test, attacks = page("write/testing.md").blocks("python")
    tests = tmp_path / "gold" / "tests"
    (tests / "test_gold.py").write_text(test)
    for step in page("write/testing.md").commands():
        wanted = "transfer" if step.startswith("keephold leaks") else "4 passed"
        assert wanted in place.run(step, tmp_path / "gold")
    (tests / "test_gold.py").write_text(attacks)
    assert "4 passed" in place.run("keephold test", tmp_path / "gold")


@pytest.mark.slow
def test_the_traps_are_measured(place, page, tmp_path):
    traps = page("write/traps.md")
    for name, block in zip(("leaky.py", "careful.py", "test_traps.py"), traps.blocks("python"), strict=True):
        (tmp_path / name).write_text(block)
    (command,) = traps.commands()
    printed = place.run(command, tmp_path)
    assert "13 passed" in printed
    assert len(traps.blocks("text")) == 6
    for table in traps.blocks("text"):
        assert table in printed, table


@pytest.mark.slow
def test_the_page_on_keys(place, page, tmp_path):
    contract, test = page("write/keys.md").blocks("python")
    (tmp_path / "notary.py").write_text(contract)
    (tmp_path / "test_notary.py").write_text(test)
    assert "2 passed" in place.run("keephold test .", tmp_path)


@pytest.mark.parametrize("name", [path.name for path in PAGES])
def test_whole_contracts_load(name, page):
    for block in page(f"write/{name}").blocks("python"):
        if "(Contract" in block:
            assert check_source(block).abi["methods"]


FUND = '''"""A fund."""

from keephold import Call, Contract, call


class Fund(Contract):
    share: int = 0
    total: int = 1

    @call
    def split(self, ctx: Call, members: int) -> None:
        self.share = self.total / members
'''


def test_what_is_refused_is_refused_in_the_words_of_the_page(page, tmp_path):
    (tmp_path / "fund.py").write_text(FUND)
    with pytest.raises(SandboxError) as refused:
        code_from_file(str(tmp_path / "fund.py"))
    assert page("write/contracts.md").blocks("text") == [f"keephold: sandbox: {refused.value}\n"]


def test_only_pages_whose_commands_run_here_have_commands(page):
    assert {path.name for path in PAGES if page(path).commands()} == {
        "clients.md",
        "permits.md",
        "start.md",
        "testing.md",
        "traps.md",
    }


def test_every_example_stands_on_its_page(page):
    root = Path(__file__).parents[2]
    there = {str(path.relative_to(root)) for path in (root / "examples").rglob("*.py")}
    contracts = {
        path for path in there if not Path(path).name.startswith("test_") and "(Contract" in (root / path).read_text()
    }
    shown = [line for block in page("write/examples.md").blocks("python") for line in block.split()[1:-1]]
    assert set(shown) == contracts, "docs/write/examples.md"
