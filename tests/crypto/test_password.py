from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from keephold.base.errors import BadKey, KeystoreError
from keephold.base.limits import MAX_STRETCH_ITERATIONS, MAX_STRETCH_LANES, MAX_STRETCH_MEMORY_KIB
from keephold.crypto import password
from keephold.crypto.password import stretch
from keephold.crypto.secret import SecretBytes

PASSWORD = SecretBytes(b"correct horse battery staple")
SALT = bytes(range(16))


def test_the_function_is_that_of_rfc_9106() -> None:
    """RFC 9106, section 5.3."""
    function = Argon2id(
        salt=b"\x02" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\x04" * 12, secret=b"\x03" * 8
    )
    expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    assert function.derive(b"\x01" * 32).hex() == expected


def test_every_input_counts() -> None:
    base = {"memory_kib": 64, "iterations": 1, "lanes": 1}
    outputs = {
        stretch(secret, salt, **(base | change)).reveal()
        for secret in (PASSWORD, SecretBytes(b""))
        for salt in (SALT, bytes(16), bytes(17))
        for change in ({}, {"memory_kib": 72}, {"iterations": 2}, {"lanes": 2})
    }
    assert len(outputs) == 2 * 3 * 4
    assert {len(output) for output in outputs} == {32}


@pytest.mark.parametrize(
    ("memory_kib", "iterations", "lanes"),
    [
        pytest.param(100 << 20, 3, 4, id="100 GiB"),
        pytest.param(MAX_STRETCH_MEMORY_KIB + 1, 1, 1, id="one KiB too much"),
        pytest.param(64, MAX_STRETCH_ITERATIONS + 1, 1, id="one pass too many"),
        pytest.param(1024, 1, MAX_STRETCH_LANES + 1, id="one lane too many"),
        pytest.param(31, 1, 4, id="too little for its lanes"),
        pytest.param(64, 0, 1, id="no pass"),
        pytest.param(64, 1, 0, id="no lane"),
        pytest.param(-64, 1, 1, id="negative memory"),
        pytest.param(64, 1, -1, id="negative lanes"),
    ],
)
def test_a_hostile_file_gets_an_error_not_the_machine(memory_kib: int, iterations: int, lanes: int) -> None:
    with pytest.raises(KeystoreError):
        stretch(PASSWORD, SALT, memory_kib=memory_kib, iterations=iterations, lanes=lanes)


@pytest.mark.parametrize("size", [0, 15, 65])
def test_the_salt_is_bounded(size: int) -> None:
    with pytest.raises(KeystoreError):
        stretch(PASSWORD, bytes(size), memory_kib=64, iterations=1, lanes=1)


def test_a_machine_without_the_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted:
        def __init__(self, **_: object) -> None:
            pass

        def derive(self, _: bytes) -> bytes:
            raise MemoryError

    monkeypatch.setattr(password, "Argon2id", Exhausted)
    with pytest.raises(KeystoreError):
        stretch(PASSWORD, SALT)


def test_the_defaults_are_within_the_limits_and_those_of_the_design() -> None:
    assert (password.MEMORY_KIB, password.ITERATIONS, password.LANES) == (256 * 1024, 3, 4)
    assert password.MEMORY_KIB <= MAX_STRETCH_MEMORY_KIB


def test_a_wiped_password_is_refused() -> None:
    wiped = SecretBytes(b"x")
    wiped.wipe()
    with pytest.raises(BadKey):
        stretch(wiped, SALT, memory_kib=64, iterations=1, lanes=1)
