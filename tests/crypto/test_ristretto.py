"""The group: total functions, refused encodings, secrets that stay secrets."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import BadKey
from keephold.crypto import ristretto
from keephold.crypto.ristretto import BASE, IDENTITY, ORDER, Point, Scalar
from keephold.crypto.secret import SecretBytes

scalars = st.integers(min_value=0, max_value=ORDER - 1)

# RFC 9496, appendix A.1: the first multiples of the generator; A.3: encodings that must be refused.
MULTIPLES = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
]
REFUSED = [
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
]


@pytest.mark.parametrize(("factor", "encoding"), list(enumerate(MULTIPLES)))
def test_multiples_of_the_generator(factor: int, encoding: str) -> None:
    assert ristretto.multiply_base(ristretto.scalar(factor)).hex() == encoding


@pytest.mark.parametrize("encoding", [*REFUSED, MULTIPLES[0], MULTIPLES[1] + "00", ""])
def test_bad_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(BadKey):
        ristretto.decode_point(bytes.fromhex(encoding))


@pytest.mark.parametrize("encoding", [*REFUSED, "", "00" * 31])
def test_operations_refuse_bad_encodings(encoding: str) -> None:
    bad = Point(bytes.fromhex(encoding))
    for operation in (
        lambda: ristretto.add(bad, BASE),
        lambda: ristretto.subtract(BASE, bad),
        lambda: ristretto.multiply(bad, ristretto.scalar(2)),
        lambda: ristretto.multiply(bad, ristretto.scalar(0)),
    ):
        with pytest.raises(BadKey):
            operation()


def test_the_identity_is_a_result_like_any_other() -> None:
    zero = ristretto.scalar(0)
    assert ristretto.multiply_base(zero) == IDENTITY
    assert ristretto.multiply(BASE, zero) == IDENTITY
    assert ristretto.multiply(IDENTITY, ristretto.scalar(5)) == IDENTITY
    assert ristretto.subtract(BASE, BASE) == IDENTITY
    assert ristretto.add(IDENTITY, BASE) == BASE


@given(scalars, scalars)
@settings(deadline=None)
def test_secret_arithmetic_agrees_with_integers(left: int, right: int) -> None:
    x, y = SecretBytes(ristretto.scalar(left)), SecretBytes(ristretto.scalar(right))
    assert ristretto.secret_add(x, y).reveal() == ristretto.scalar(left + right)
    assert ristretto.secret_subtract(x, y).reveal() == ristretto.scalar(left - right)
    assert ristretto.secret_multiply(x, y).reveal() == ristretto.scalar(left * right)


@given(scalars, scalars)
@settings(deadline=None)
def test_multiplication_distributes(left: int, right: int) -> None:
    parts = ristretto.add(
        ristretto.multiply_base(ristretto.scalar(left)), ristretto.multiply_base(ristretto.scalar(right))
    )
    assert parts == ristretto.multiply_base(ristretto.scalar(left + right))


@pytest.mark.parametrize("value", [ORDER, ORDER + 1, 2**255, 2**256 - 1])
def test_scalars_from_the_order_up_are_refused(value: int) -> None:
    raw = value.to_bytes(32, "little")
    with pytest.raises(BadKey):
        ristretto.decode_scalar(raw)
    with pytest.raises(BadKey):
        ristretto.decode_secret_scalar(SecretBytes(raw))


def test_the_largest_scalar_is_accepted() -> None:
    raw = (ORDER - 1).to_bytes(32, "little")
    assert ristretto.decode_scalar(raw) == raw
    assert ristretto.decode_secret_scalar(SecretBytes(raw)).reveal() == raw


def test_wrong_sizes_are_refused() -> None:
    for operation in (
        lambda: ristretto.decode_scalar(bytes(31)),
        lambda: ristretto.decode_secret_scalar(SecretBytes(bytes(33))),
        lambda: ristretto.secret_scalar(SecretBytes(bytes(63))),
        lambda: ristretto.point_from_hash(bytes(32)),
        lambda: ristretto.multiply_base(Scalar(bytes(31))),
    ):
        with pytest.raises(BadKey):
            operation()


def test_the_library_names_itself() -> None:
    assert ristretto.library().startswith(("system libsodium", "bundled rbcl"))


def test_without_a_system_library_the_bundled_one_serves_and_leaves_no_file(tmp_path: object) -> None:
    script = (
        "import ctypes.util, os, tempfile\n"
        "from keephold.crypto import _sodium\n"
        f"tempfile.tempdir = {str(tmp_path)!r}\n"
        "ctypes.util.find_library = lambda name: None\n"
        "real = _sodium.ffi\n"
        "class Without:\n"
        "    def __getattr__(self, name): return getattr(real, name)\n"
        "    def dlopen(self, name):\n"
        "        if name.startswith('libsodium'): raise OSError('absent')\n"
        "        return real.dlopen(name)\n"
        "_sodium.ffi = Without()\n"
        "from keephold.crypto import ristretto\n"
        "assert ristretto.library().startswith('bundled'), ristretto.library()\n"
        f"assert ristretto.multiply_base(ristretto.scalar(2)).hex() == {MULTIPLES[2]!r}\n"
        f"assert os.listdir({str(tmp_path)!r}) == []\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_scalar_becomes_an_integer_but_a_received_one() -> None:
    """Integer arithmetic takes time that depends on the value: it is for indices and public scalars."""
    root = Path(ristretto.__file__).parent.parent
    sources = [root / "crypto/ristretto.py", *root.glob("crypto/sharing/*.py"), *root.glob("custody/**/*.py")]
    uses = {source.name: source.read_text().count("int.from_bytes(") for source in sources}
    assert {name: count for name, count in uses.items() if count} == {
        "ristretto.py": 1,  # decode_scalar: public
        "share.py": 2,  # lengths and seat of the stored form
    }


def test_the_parsed_declarations_are_what_the_tool_yields():
    tool = Path(__file__).parents[2] / "tools" / "build_sodium.py"
    namespace = runpy.run_path(str(tool))
    assert namespace["TARGET"].read_text() == namespace["generated"]()
