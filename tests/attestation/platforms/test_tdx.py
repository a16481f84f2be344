from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path

import pytest

from keephold.attestation.platforms.base import SealingPlatform
from keephold.attestation.platforms.tdx import TdxPlatform
from keephold.base.errors import ConfigurationError, QuoteUnavailable

REPORT_DATA = b"r" * 64


class EmulatedKernel:
    """Entries whose blobs are pipes: writing report data wakes a thread that answers with a quote."""

    def __init__(self, quote: bytes = b"quote", provider: str = "tdx_guest", step: int = 1) -> None:
        self.quote, self.provider, self.step = quote, provider, step
        self.received: list[bytes] = []
        self.removed: list[Path] = []
        self._threads: list[threading.Thread] = []

    def make(self, path: Path) -> None:
        path.mkdir()
        (path / "provider").write_text(self.provider + "\n")
        (path / "generation").write_text("4\n")
        os.mkfifo(path / "inblob")
        os.mkfifo(path / "outblob")
        if self.provider == "tdx_guest":
            thread = threading.Thread(target=self._serve, args=(path,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, path: Path) -> None:
        self.received.append((path / "inblob").read_bytes())
        (path / "generation").write_text(f"{4 + self.step}\n")
        (path / "outblob").write_bytes(self.quote)

    def remove(self, path: Path) -> None:
        for thread in self._threads:
            thread.join()
        shutil.rmtree(path)
        self.removed.append(path)


def platform(root: Path, kernel: EmulatedKernel, **options) -> TdxPlatform:
    return TdxPlatform(vendor="intel", root=root, entries=kernel, **options)


def test_a_quote_comes_from_an_entry_of_its_own(tmp_path) -> None:
    kernel = EmulatedKernel()
    machine = platform(tmp_path, kernel)
    evidence = machine.quote(REPORT_DATA)
    assert (evidence.vendor, evidence.quote, evidence.events) == ("intel", b"quote", ())
    assert kernel.received == [REPORT_DATA]
    machine.quote(REPORT_DATA)
    assert len(set(kernel.removed)) == 2
    assert list(tmp_path.iterdir()) == []


def test_report_data_written_by_somebody_else_is_noticed(tmp_path) -> None:
    with pytest.raises(QuoteUnavailable):
        platform(tmp_path, EmulatedKernel(step=2)).quote(REPORT_DATA)
    assert list(tmp_path.iterdir()) == []


def test_another_provider_is_no_trust_domain(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="sev_guest"):
        platform(tmp_path, EmulatedKernel(provider="sev_guest")).quote(REPORT_DATA)


@pytest.mark.parametrize("quote", [b"", b"q" * (17 << 10)])
def test_a_quote_of_no_size_is_refused(tmp_path, quote) -> None:
    with pytest.raises(QuoteUnavailable):
        platform(tmp_path, EmulatedKernel(quote)).quote(REPORT_DATA)


def test_no_configfs_is_a_matter_of_configuration(tmp_path) -> None:
    with pytest.raises(ConfigurationError):
        TdxPlatform(vendor="intel", root=tmp_path / "absent").quote(REPORT_DATA)


def test_an_entry_without_attributes_is_reported_and_removed(tmp_path) -> None:
    with pytest.raises(QuoteUnavailable):
        TdxPlatform(vendor="intel", root=tmp_path).quote(REPORT_DATA)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EINTR, errno.ETIMEDOUT])
def test_a_busy_kernel_is_asked_again(tmp_path, monkeypatch, code) -> None:
    read, failures, pauses = Path.read_bytes, [code] * 3, []

    def reluctant(path: Path) -> bytes:
        if path.name == "outblob" and failures:
            raise OSError(failures.pop(), "busy")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", reluctant)
    assert platform(tmp_path, EmulatedKernel(), pause=pauses.append).quote(REPORT_DATA).quote == b"quote"
    assert len(pauses) == 3


@pytest.mark.parametrize(("code", "attempts"), [(errno.EBUSY, 20), (errno.EIO, 1)])
def test_patience_ends(tmp_path, monkeypatch, code, attempts) -> None:
    read, asked = Path.read_bytes, []

    def failing(path: Path) -> bytes:
        if path.name == "outblob":
            asked.append(path)
            if len(asked) == attempts:
                read(path)
            raise OSError(code, "no")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(QuoteUnavailable):
        platform(tmp_path, EmulatedKernel(), pause=lambda _: None).quote(REPORT_DATA)
    assert len(asked) == attempts


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_report_data_has_one_size(tmp_path, size) -> None:
    with pytest.raises(ConfigurationError):
        platform(tmp_path, EmulatedKernel()).quote(bytes(size))


def test_a_trust_domain_cannot_seal(tmp_path) -> None:
    assert not isinstance(platform(tmp_path, EmulatedKernel()), SealingPlatform)
