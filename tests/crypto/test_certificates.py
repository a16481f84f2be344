from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import BadKey, BadSignature
from keephold.crypto.certificates import open_issued, open_root, unverified_serial
from keephold.crypto.issuing import SEED_SIZE, Authority, P256Key
from keephold.crypto.secret import SecretBytes

FROM, UNTIL = 1_600_000_000, 1_700_000_000


def key(name: str) -> P256Key:
    return P256Key(SecretBytes(name.encode().ljust(SEED_SIZE, b".")))


ROOT = Authority.root("root", key("root"), from_s=FROM, until_s=UNTIL)
OPENED = open_root(ROOT.der)
LEAF_KEY = key("leaf")
LEAF, SERIAL = ROOT.issue("leaf", LEAF_KEY, {"1.2.3": b"\x05\x00"})
SUBORDINATE = ROOT.subordinate("subordinate", key("subordinate"))


def test_a_chain_of_two_opens() -> None:
    leaf = open_issued(LEAF + ROOT.pem, OPENED)
    assert (leaf.common_name, leaf.serial, leaf.is_authority) == ("leaf", SERIAL, False)
    assert (leaf.valid_from_s, leaf.valid_until_s) == (FROM, UNTIL)
    assert "1.2.3" in leaf.extensions
    assert leaf.chain_pem == LEAF + ROOT.pem
    assert open_issued(SUBORDINATE.pem + ROOT.pem, OPENED).is_authority
    assert unverified_serial((LEAF + ROOT.pem).encode()) == SERIAL


OTHER_ROOT = Authority.root("root", key("other"), from_s=FROM, until_s=UNTIL)
DEEP, _ = SUBORDINATE.issue("leaf", LEAF_KEY, {})


@pytest.mark.parametrize(
    "chain",
    [
        pytest.param("", id="empty"),
        pytest.param("x" * 100, id="no PEM"),
        pytest.param(LEAF, id="no root"),
        pytest.param(ROOT.pem, id="root alone"),
        pytest.param(ROOT.pem + LEAF, id="reversed"),
        pytest.param(LEAF + OTHER_ROOT.pem, id="another root"),
        pytest.param(OTHER_ROOT.issue("leaf", LEAF_KEY, {})[0] + ROOT.pem, id="issued by another root"),
        pytest.param(DEEP + SUBORDINATE.pem + ROOT.pem, id="three links"),
        pytest.param(DEEP + ROOT.pem, id="a link left out"),
        pytest.param(LEAF + LEAF + ROOT.pem, id="a link twice"),
        pytest.param(LEAF + ROOT.pem.replace("A", "B"), id="an altered root"),
    ],
)
def test_any_other_chain_is_refused(chain: str) -> None:
    with pytest.raises(BadSignature):
        open_issued(chain, OPENED)


@pytest.mark.parametrize("der", [b"", b"root", ROOT.der[:-1], ROOT.der + b"\0", SUBORDINATE.der])
def test_a_root_signs_itself(der: bytes) -> None:
    with pytest.raises(BadSignature):
        open_root(der)


def test_signatures_are_raw_deterministic_and_checked() -> None:
    leaf = open_issued(LEAF + ROOT.pem, OPENED)
    signature = LEAF_KEY.sign(b"message")
    assert signature == LEAF_KEY.sign(b"message")
    assert len(signature) == len(LEAF_KEY.public) == 64
    leaf.verify(signature, b"message")
    for altered in (signature[:-1], signature + b"\0", bytes(64), b"\xff" * 64, key("root").sign(b"message")):
        with pytest.raises(BadSignature):
            leaf.verify(altered, b"message")
    with pytest.raises(BadSignature):
        leaf.verify(signature, b"another")


def test_a_revocation_list_opens_under_its_issuer_alone() -> None:
    der = ROOT.revocation_list([SERIAL, 7], from_s=FROM, until_s=UNTIL)
    opened = OPENED.open_revocation_list(der)
    assert (opened.der, opened.issued_s, opened.expires_s) == (der, FROM, UNTIL)
    assert opened.revoked == {SERIAL, 7}
    assert OPENED.open_revocation_list(ROOT.revocation_list([], from_s=FROM, until_s=UNTIL)).revoked == frozenset()
    for issuer in (open_root(OTHER_ROOT.der), open_issued(SUBORDINATE.pem + ROOT.pem, OPENED)):
        with pytest.raises(BadSignature):
            issuer.open_revocation_list(der)


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7), kind=st.sampled_from(["root", "list", "chain"]))
def test_altered_bytes_are_refused_or_mean_the_same(position: int, bit: int, kind: str) -> None:
    honest = {
        "root": ROOT.der,
        "list": ROOT.revocation_list([SERIAL], from_s=FROM, until_s=UNTIL),
        "chain": (LEAF + ROOT.pem).encode(),
    }[kind]
    altered = bytearray(honest)
    altered[position % len(honest)] ^= 1 << bit
    try:
        if kind == "root":
            assert open_root(bytes(altered)) != OPENED
        elif kind == "list":
            raise AssertionError(OPENED.open_revocation_list(bytes(altered)))
        else:
            assert open_issued(altered.decode("latin-1"), OPENED) == open_issued(honest.decode(), OPENED)
    except BadSignature:
        return


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_serial_number_needs_a_certificate(pem: bytes) -> None:
    with pytest.raises(BadSignature):
        unverified_serial(pem)


@pytest.mark.parametrize("size", [0, 32, 47, 49])
def test_a_seed_has_one_size(size: int) -> None:
    with pytest.raises(BadKey):
        P256Key(SecretBytes(bytes(size)))


def test_a_revocation_list_under_another_name_of_the_same_key_is_refused() -> None:
    renamed = Authority.root("another name", key("root"), from_s=FROM, until_s=UNTIL)
    with pytest.raises(BadSignature):
        OPENED.open_revocation_list(renamed.revocation_list([], from_s=FROM, until_s=UNTIL))
