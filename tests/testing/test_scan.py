"""The scanner finds what is planted, wherever and however it lies, and never says what it found."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.testing.scan import Scanner, plant, spellings

SECRET = bytes(range(0x70, 0x90))
SECRETS = {"text": b"a secret of words", "seed": SECRET, "zero": bytes(32)[:-1] + b"\x01"}

secrets = st.binary(min_size=16, max_size=64).filter(lambda secret: len(set(secret)) > 8)


def names(findings: list) -> set[str]:
    return {finding.spelling for finding in findings}


def test_every_planted_spelling_is_found(tmp_path: Path) -> None:
    planted = plant(tmp_path, SECRETS)
    found = Scanner(SECRETS).directory(tmp_path)
    assert {(finding.label, finding.spelling) for finding in found} >= set(planted)


def test_nothing_is_found_where_nothing_lies(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(3 << 20))
    assert Scanner({"seed": os.urandom(32)}).directory(tmp_path) == []


@given(secret=secrets, before=st.binary(max_size=8), after=st.binary(max_size=8))
def test_encoders_are_seen_through(secret: bytes, before: bytes, after: bytes) -> None:
    scanner = Scanner({"seed": secret})
    whole = before + secret + after
    encodings = [
        whole,
        whole[::-1],
        whole.hex().encode(),
        whole.hex().upper().encode(),
        base64.b64encode(whole),
        base64.urlsafe_b64encode(whole),
        repr(whole).encode() if b"'" not in whole and b'"' not in whole else whole,
        json.dumps(whole.decode("latin-1")).encode(),
        json.dumps(list(whole)).encode(),
        whole.decode("latin-1").encode(),
    ]
    for encoded in encodings:
        assert scanner.data(encoded, "here")


@given(secret=secrets, cut=st.integers(1, 63))
def test_one_cut_does_not_hide_a_secret(secret: bytes, cut: int) -> None:
    scanner = Scanner({"seed": secret})
    for spelled in spellings(secret).values():
        at = cut % len(spelled)
        assert scanner.data(spelled[:at] + b"\r\n40\r\n" + spelled[at:], "here")


@pytest.mark.parametrize("offset", [-40, -32, -17, -1, 0, 1])
def test_chunks_overlap(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"." * ((1 << 20) + offset) + SECRET + b"." * (1 << 20))
    found = Scanner({"seed": SECRET}).file(path)
    assert [(finding.spelling, finding.offset) for finding in found] == [("raw", (1 << 20) + offset)]


def test_sparse_files_are_read_where_they_hold_data(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.seek(1 << 36)
        file.write(SECRET)
        file.truncate(1 << 37)
    (found,) = Scanner({"seed": SECRET}).file(path)
    assert found.offset == 1 << 36


def test_deleted_rows_overflow_pages_and_write_ahead_logs_are_read(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "rows.sqlite"))
    connection.execute("pragma journal_mode=wal; pragma secure_delete=off; create table rows (value blob)").fetchall()
    connection.execute("insert into rows values (?)", (b"." * 4070 + SECRET + b"." * 9000,))
    connection.execute("delete from rows")
    found = Scanner({"seed": SECRET}).directory(tmp_path)
    assert names(found) == {"raw"}
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    connection.close()
    assert names(Scanner({"seed": SECRET}).directory(tmp_path)) == {"raw"}


def test_names_and_links_are_read(tmp_path: Path) -> None:
    (tmp_path / SECRET.hex()).touch()
    (tmp_path / "link").symlink_to(base64.urlsafe_b64encode(SECRET).decode())
    found = Scanner({"seed": SECRET}).directory(tmp_path)
    assert {finding.place.split(" of ")[0] for finding in found} == {"the name", "the target"}


def test_a_file_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert Scanner({"seed": SECRET}).places([tmp_path / "gone"]) == []


def test_short_secrets_are_refused() -> None:
    with pytest.raises(ValueError, match="15 bytes"):
        Scanner({"seed": SECRET[:15]})


def test_no_secret_in_a_finding_or_a_scanner() -> None:
    scanner = Scanner({"seed": SECRET})
    shown = repr(scanner) + repr(scanner.data(SECRET + SECRET.hex().encode(), "here"))
    assert Scanner({"seed": SECRET}).data(shown.encode(), "shown") == []
