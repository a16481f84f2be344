"""G3. No key object gives its bytes away by accident, and nothing that runs in an enclave can listen."""

from __future__ import annotations

import ast
import copy
import pickle  # noqa: TID251 - to see it refused
from pathlib import Path

import pytest
from hostile_custody import generation
from worker_cast import KEYS

import keephold
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.custody.secret.derivation import RoundSecrets
from keephold.sealing.disk import SealedDisk

SOURCE = Path(keephold.__file__).parent
INSIDE = ("enclave", "worker", "gatekeeper", "follower", "runtime", "sealing", "custody", "crypto", "attestation")
LISTENING = {"listen", "bind", "start_server", "start_unix_server", "create_server", "create_unix_server"}


def held(tmp_path) -> list[object]:
    """Everything that keeps a key in an enclave."""
    ceremony = generation("abc", 2)
    participant = next(iter(ceremony.participants.values()))
    ceremony.run()
    secrets = RoundSecrets(SecretBytes(bytes(32)), ceremony.opened)
    disk = SealedDisk(SecretBytes(bytes(32)), tmp_path)
    return [KEYS, KEYS.slots, KEYS.signing, KEYS.encryption, ceremony.made()[0], participant, secrets, disk]


def test_no_key_holder_pickles_copies_or_prints(tmp_path) -> None:
    for holder in held(tmp_path):
        assert isinstance(holder, Opaque), holder
        for spill in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                spill(holder)
        assert repr(holder) == f"{type(holder).__name__}(opaque)"
        assert not hasattr(holder, "__dict__")


def test_nothing_inside_an_enclave_calls_for_a_listening_socket() -> None:
    found = []
    for package in INSIDE:
        paths = sorted((SOURCE / package).rglob("*.py"))
        assert paths, package
        for path in paths:
            found += [
                f"{path.relative_to(SOURCE)}:{node.lineno}: {node.func.attr}"
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LISTENING
            ]
    assert found == []
