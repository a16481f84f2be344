"""A devnet that a shell started in the background, where SIGINT is ignored, still ends by it."""

from __future__ import annotations

import signal

import pytest

from keephold.cli.devnet.command import ending_on_terminate


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_was_ignored_ends_it_in_order_and_is_ignored_again(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), ending_on_terminate():
            signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
