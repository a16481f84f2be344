"""A ledger with an engine that the test drives by hand."""

from __future__ import annotations

import pytest

from keephold.base.clock import SystemClock
from keephold.chain.chain_id import chain_id
from keephold.crypto.ed25519 import ValidatorKey
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.embedded import EmbeddedEngine
from keephold.ledger.reader import LedgerReader
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import CommitteeRules, Constitution, GovernanceRules, Timing, ValidatorEntry

VALIDATOR = ValidatorKey.generate()
SECOND = 10**9


def make_genesis() -> Genesis:
    law = Constitution(
        GovernanceRules((b"\x01" * 32,), 1, 0),
        AttestationPolicy(vendors=(), measurements=(), quote_window_ns=600 * SECOND),
        CommitteeRules(1, 1, 30 * SECOND),
        Timing(3600 * SECOND, 10 * SECOND, 48 * 3600 * SECOND),
        (ValidatorEntry(VALIDATOR.public, 1),),
    )
    return Genesis("api-test", 1_700_000_000 * SECOND, bytes(32), law, simulated=True)


@pytest.fixture
def node(tmp_path):
    genesis = make_genesis()
    application = LedgerApplication(genesis, tmp_path)
    engine = EmbeddedEngine(
        application,
        tmp_path,
        VALIDATOR,
        chain_id=chain_id(application.network),
        genesis_ns=genesis.time_ns,
        validators=application.validators(),
        clock=SystemClock(),
    )
    yield LedgerReader(application, engine), engine, application.network
    engine.stop()
    application.close()
