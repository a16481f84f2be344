"""What docs/ takes from the code is what the code says now; `make tables` writes it anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import keephold
from keephold.base import errors
from keephold.crypto.labels import registered
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Body
from reference import labels, pictures, sections, source

PAGES = sections.pages()


def text(page: str) -> str:
    return (sections.DOCS / page).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(sections.DOCS)))
def test_no_generated_section_is_stale(page):
    assert page.read_text() == sections.filled(page.read_text()), "run `make tables` and commit what changed"


def test_the_picture_of_the_ceremony_is_that_of_its_tables():
    assert (sections.DOCS / "spec" / "ceremony.svg").read_text() == pictures.phases_svg(), "run `make tables`"


def test_every_section_stands_on_a_page_and_every_marker_is_closed():
    begun = [name for page in PAGES for name in re.findall(r"<!-- generated: ([\w-]+) -->", page.read_text())]
    closed = [found["name"] for page in PAGES for found in sections.MARKED.finditer(page.read_text())]
    assert begun == closed
    assert set(begun) == set(sections.SECTIONS)


def test_decisions_are_numbered_from_one_without_a_gap():
    decisions = sorted((sections.DOCS / "adr").glob("[0-9]*.md"))
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    assert all(path.read_text().startswith(f"# {path.name[:4]}: ") for path in decisions)


def test_filling_keeps_the_prose_between_sections():
    page = "a\n<!-- generated: limits -->\n<!-- end -->\nb\n<!-- generated: refusals -->\n<!-- end -->\nc\n"
    filled = sections.filled(page)
    assert [line for line in filled.splitlines() if line in ("a", "b", "c")] == ["a", "b", "c"]
    assert sections.filled(filled) == filled


def test_an_unknown_section_is_an_error():
    with pytest.raises(KeyError):
        sections.filled("<!-- generated: nothing -->\n<!-- end -->\n")


def test_every_label_has_a_row_with_what_it_binds():
    rows = re.findall(r"^\| `keephold/(\S+)` \| (.+) \|$", text("spec/labels.md"), re.MULTILINE)
    assert [name for name, _ in rows] == list(registered())
    unused = [name for name, use in rows if "in published vectors alone" in use]
    assert unused == sorted(label.name for name, label in labels.NAMES.items() if name.startswith("VECTOR_"))


def test_every_transaction_and_refusal_has_its_row():
    page = text("spec/transactions.md")
    assert all(f"### `{kind.__name__}`" in page for kind in Body.__args__)
    assert all(f"| {int(item)} | `{item.word}` |" in page for item in Refusal)


def test_every_error_has_its_row():
    page = text("reference/errors.md")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 30
    assert all(f"`{kind.__name__}` | `{kind.code}` | {kind.exit_status} |" in page for kind in kinds)


def test_the_api_page_lists_all_that_a_contract_author_imports():
    assert sorted(re.findall(r"^::: keephold\.(\w+)$", text("reference/api.md"), re.MULTILINE)) == sorted(
        keephold.__all__
    )


def test_a_gatekeeper_has_no_key_of_its_own():
    assert sections.is_gatekeeper_plain()


def test_docstrings_under_fields_are_found():
    (found,) = source.definitions(source.ast.parse('x: int = 3\n"""What it is."""\n').body)
    assert found == ("x", "int", "3", "What it is.")


def test_the_tool_says_what_is_stale(tmp_path, monkeypatch, capsys):
    from reference.__main__ import main

    (tmp_path / "spec").mkdir()
    (tmp_path / "page.md").write_text("<!-- generated: limits -->\n<!-- end -->\n")
    monkeypatch.setattr(sections, "DOCS", tmp_path)
    monkeypatch.setattr("reference.__main__.DOCS", tmp_path)
    monkeypatch.setattr("sys.argv", ["reference", "--check"])
    assert main() == 1
    assert capsys.readouterr().out == "stale: page.md\n"
    monkeypatch.setattr("sys.argv", ["reference"])
    assert main() == 0
    monkeypatch.setattr("sys.argv", ["reference", "--check"])
    assert main() == 0
    assert Path(tmp_path / "page.md").read_text().count("|") > 100
