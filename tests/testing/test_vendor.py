from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from keephold.attestation.platforms.base import Platform
from keephold.base.errors import ConfigurationError
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.evidence import Collateral, Evidence
from keephold.testing.vendor import DevelopmentVendor, Machine, SgxBuild, TdxBuild, measurement_of

NOW_NS = 1_800_000_000_000_000_000


def test_one_seed_makes_one_vendor() -> None:
    one, again = (DevelopmentVendor(SecretBytes(b"s" * 32)) for _ in range(2))
    assert one.root_der == again.root_der
    assert one.collateral(now_ns=NOW_NS) == again.collateral(now_ns=NOW_NS)
    build, machine = SgxBuild.named("worker"), Machine.named("one")
    assert one.quote(build, bytes(64), machine) == again.quote(build, bytes(64), machine)
    assert DevelopmentVendor.create().root_der != one.root_der


def test_a_devnet_finds_its_vendor_again(tmp_path) -> None:
    directory = tmp_path / "deep" / "vendor"
    vendor = DevelopmentVendor.create_or_load(directory)
    assert DevelopmentVendor.create_or_load(directory).root_der == vendor.root_der
    assert [path.name for path in directory.iterdir()] == ["development-vendor.seed"]
    assert stat.S_IMODE((directory / "development-vendor.seed").stat().st_mode) == 0o600


def test_processes_that_race_agree(tmp_path) -> None:
    with ThreadPoolExecutor(8) as pool:
        vendors = list(pool.map(lambda _: DevelopmentVendor.create_or_load(tmp_path), range(8)))
    assert len({vendor.root_der for vendor in vendors}) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_others_read_is_refused(tmp_path) -> None:
    DevelopmentVendor.create_or_load(tmp_path)
    (tmp_path / "development-vendor.seed").chmod(0o644)
    with pytest.raises(ConfigurationError):
        DevelopmentVendor.create_or_load(tmp_path)


def test_a_file_that_is_no_seed_is_refused(tmp_path) -> None:
    path = tmp_path / "development-vendor.seed"
    path.touch(mode=0o600)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError):
        DevelopmentVendor.create_or_load(tmp_path)


@pytest.mark.parametrize(
    ("build", "size"),
    [(SgxBuild.named("w"), 48 + 384), (TdxBuild.named("w"), 48 + 584), (TdxBuild.named("w", 5), 48 + 6 + 648)],
)
def test_report_data_ends_the_report_or_precedes_its_extension(build, size) -> None:
    quote = DevelopmentVendor.create().quote(build, b"r" * 64, Machine.named("one"))
    extension = 64 if isinstance(build, TdxBuild) and build.version == 5 else 0
    assert quote[size - extension - 64 : size - extension] == b"r" * 64
    assert int.from_bytes(quote[:2], "little") == {432: 3, 632: 4, 702: 5}[size]


def test_names_make_builds_and_machines() -> None:
    builds = [SgxBuild.named("a"), SgxBuild.named("b"), TdxBuild.named("a"), TdxBuild.named("b")]
    assert len({measurement_of(build) for build in builds}) == 4
    assert measurement_of(TdxBuild.named("a")) == measurement_of(TdxBuild.named("a", 5))
    assert Machine.named("a").ppid != Machine.named("b").ppid
    assert Machine.named("a").ppid == Machine.named("a", "OutOfDate").ppid


def test_what_it_issues_has_a_canonical_spelling() -> None:
    vendor = DevelopmentVendor.create()
    collateral = vendor.collateral(now_ns=NOW_NS, tee="tdx")
    assert decode(encode(collateral), Collateral) == collateral
    platform: Platform = vendor.platform(Machine.named("one"), TdxBuild.named("w"))
    evidence = platform.quote(bytes(64))
    assert decode(encode(evidence), Evidence) == evidence


def test_a_policy_names_the_vendor_and_the_builds() -> None:
    vendor = DevelopmentVendor.create()
    build = SgxBuild.named("w")
    policy = vendor.policy((build, "worker"), (build, "gatekeeper"))
    assert decode(encode(policy), type(policy)) == policy
    assert msgspec.structs.asdict(policy.vendors[0])["root"] == vendor.root_der
    assert [entry.role for entry in policy.measurements] == ["worker", "gatekeeper"]


def test_the_seed_does_not_print() -> None:
    assert "s" * 8 not in repr(vars(DevelopmentVendor(SecretBytes(b"s" * 32))))
