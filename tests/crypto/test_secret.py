from __future__ import annotations

import copy
import json
import logging
import pickle  # noqa: TID251 # what must not work
import traceback
from collections.abc import Callable

import pytest

from keephold.base.errors import BadKey
from keephold.crypto.secret import SecretBytes

VALUE = b"correct horse battery staple"


def test_reveal_is_the_way_out() -> None:
    assert SecretBytes(VALUE).reveal() == VALUE
    assert len(SecretBytes(VALUE)) == len(VALUE)


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{:>40}".format, lambda s: f"{s!r}", lambda s: "%s" % (s,)])  # noqa: UP031 # each way to print
def test_a_secret_never_prints(show: Callable[[SecretBytes], str]) -> None:
    shown = show(SecretBytes(VALUE))
    assert "correct" not in shown
    assert VALUE.hex() not in shown


def test_a_secret_shows_neither_in_logs_nor_in_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    secret = SecretBytes(VALUE)
    logging.getLogger("keephold").error("with %s", secret)
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown = caplog.text + "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "SecretBytes(28 bytes)" in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_never_pickles(protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(SecretBytes(VALUE), protocol)


@pytest.mark.parametrize("leak", [copy.copy, copy.deepcopy, bytes, bytearray, memoryview, list, hash, json.dumps])
def test_a_secret_becomes_nothing_else(leak: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        leak(SecretBytes(VALUE))


def test_secrets_compare_by_value_with_each_other_only() -> None:
    assert SecretBytes(VALUE) == SecretBytes(bytearray(VALUE))
    assert SecretBytes(VALUE) != SecretBytes(VALUE + b"!")
    assert SecretBytes(VALUE) != VALUE


def test_a_wiped_secret_is_zeros_inside_and_refused_outside() -> None:
    secret = SecretBytes(VALUE)
    secret.wipe()
    assert secret._buffer == bytes(len(VALUE))
    with pytest.raises(BadKey):
        secret.reveal()


def test_a_secret_keeps_its_own_copy() -> None:
    source = bytearray(VALUE)
    secret = SecretBytes(source)
    source[:] = bytes(len(source))
    assert secret.reveal() == VALUE


@pytest.mark.parametrize("value", [32, "text", None])
def test_only_bytes_make_a_secret(value: object) -> None:
    with pytest.raises(TypeError):
        SecretBytes(value)  # type: ignore[arg-type] # the mistake under test


def test_random_secrets_have_their_size_and_differ() -> None:
    assert len(SecretBytes.random(16)) == 16
    assert SecretBytes.random() != SecretBytes.random()
