from __future__ import annotations

import hashlib
from importlib.resources import files

import pytest

from keephold.attestation import roots
from keephold.base.errors import ConfigurationError
from keephold.crypto.certificates import open_root


def test_the_pinned_root_is_the_one_in_recorded_collateral(real_sgx) -> None:
    root = open_root(roots.intel().root)
    assert real_sgx.collateral.tcb_info_issuer_chain.count("BEGIN") == 2
    assert root.common_name == "Intel SGX Root CA"
    assert hashlib.sha256(roots.intel().root).hexdigest() == roots._INTEL_FINGERPRINT


def test_another_file_in_its_place_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(roots, "_INTEL_FINGERPRINT", "00" * 32)
    assert files("keephold.attestation.roots").joinpath(roots._INTEL_ROOT).is_file()
    with pytest.raises(ConfigurationError):
        roots.intel()
