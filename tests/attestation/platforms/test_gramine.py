from __future__ import annotations

from pathlib import Path

import pytest

from keephold.attestation.platforms.base import SealingPlatform
from keephold.attestation.platforms.gramine import GraminePlatform
from keephold.base.errors import ConfigurationError, QuoteUnavailable

REPORT_DATA = b"r" * 64


@pytest.fixture
def root(tmp_path):
    (tmp_path / "user_report_data").write_bytes(bytes(64))
    (tmp_path / "quote").write_bytes(b"quote")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "_sgx_mrenclave").write_bytes(b"k" * 16)
    (tmp_path / "keys" / "_sgx_mrsigner").write_bytes(b"s" * 16)
    return tmp_path


def test_report_data_is_written_before_the_quote_is_read(root) -> None:
    evidence = GraminePlatform(vendor="intel", root=root).quote(REPORT_DATA)
    assert (root / "user_report_data").read_bytes() == REPORT_DATA
    assert (evidence.vendor, evidence.quote) == ("intel", b"quote")


def test_one_lock_covers_both_steps(root, monkeypatch) -> None:
    platform = GraminePlatform(vendor="intel", root=root)
    opened = []
    original = Path.open

    def watching(path: Path, *arguments, **options):
        if path.is_relative_to(root):  # a network of other tests may live in this process
            opened.append((path.name, platform._lock.locked()))
        return original(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", watching)
    platform.quote(REPORT_DATA)
    assert opened == [("user_report_data", True), ("quote", True)]
    assert not platform._lock.locked()


def test_outside_gramine_is_a_matter_of_configuration(tmp_path) -> None:
    platform = GraminePlatform(vendor="intel", root=tmp_path)
    with pytest.raises(ConfigurationError):
        platform.quote(REPORT_DATA)
    with pytest.raises(ConfigurationError):
        platform.sealing_key(b"disk")


def test_a_quoting_enclave_that_gives_nothing(root) -> None:
    platform = GraminePlatform(vendor="intel", root=root)
    (root / "quote").write_bytes(b"")
    with pytest.raises(QuoteUnavailable):
        platform.quote(REPORT_DATA)
    (root / "quote").unlink()
    with pytest.raises(QuoteUnavailable):
        platform.quote(REPORT_DATA)


def test_the_sealing_key_is_the_enclaves_and_the_contexts(root) -> None:
    platform = GraminePlatform(vendor="intel", root=root)
    key = platform.sealing_key(b"disk")
    assert len(key) == 32
    assert key == platform.sealing_key(b"disk")
    assert key != platform.sealing_key(b"cache")
    (root / "keys" / "_sgx_mrsigner").write_bytes(b"t" * 16)
    assert key == platform.sealing_key(b"disk")
    (root / "keys" / "_sgx_mrenclave").write_bytes(b"l" * 16)
    assert key != platform.sealing_key(b"disk")


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_key_of_another_size_is_refused(root, size) -> None:
    (root / "keys" / "_sgx_mrenclave").write_bytes(bytes(size))
    with pytest.raises(ConfigurationError):
        GraminePlatform(vendor="intel", root=root).sealing_key(b"disk")


def test_report_data_has_one_size(root) -> None:
    with pytest.raises(ConfigurationError):
        GraminePlatform(vendor="intel", root=root).quote(b"short")


def test_an_enclave_can_seal(root) -> None:
    assert isinstance(GraminePlatform(vendor="intel", root=root), SealingPlatform)
