from __future__ import annotations

import pytest

from keephold.base.errors import DeadlineExceeded
from keephold.testing import caretaker
from keephold.testing.caretaker import Caretaker
from keephold.testing.ceremony import Shape, found
from keephold.testing.vendor import DevelopmentVendor

NOBODY = "http://127.0.0.1:1"


def test_who_waits_for_a_network_is_told_what_is_missing_and_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(caretaker, "_TOLD_SECONDS", 0.01)
    vendor = DevelopmentVendor.create_or_load(tmp_path)
    waiting = Caretaker(found(tmp_path, NOBODY, vendor, bytes(32), Shape(), 10**18), vendor)
    told = []
    try:
        with pytest.raises(DeadlineExceeded, match=r"the node does not answer after 0\.05 s: it starts"):
            waiting.wait_node(0.05, told.append)
    finally:
        waiting.stop()
    assert told[0].startswith("the node does not answer yet, after ")
