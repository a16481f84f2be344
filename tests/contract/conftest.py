from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from keephold import Address

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def token_class():
    spec = importlib.util.spec_from_file_location("example_token", EXAMPLES / "token" / "token.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["example_token"] = module
    spec.loader.exec_module(module)
    yield module.Token
    del sys.modules["example_token"]


@pytest.fixture
def alice():
    return Address(b"a" * 32)


@pytest.fixture
def bob():
    return Address(b"b" * 32)


@pytest.fixture
def carol():
    return Address(b"c" * 32)
