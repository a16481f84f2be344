"""What was seen stays seen: an earlier record, another one of the same version, and none at all are refused."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from keephold.base.errors import RollbackDetected, StaleAnswer
from keephold.base.ids import ContractId
from keephold.crypto.hashing import sha256
from keephold.crypto.secret import SecretBytes
from keephold.enclave.vault import ForgetfulVault
from keephold.gatekeeper import marks as module
from keephold.gatekeeper.marks import Marks
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.marks import mark_of
from keephold.protocol.state import ContractRecord

CONTRACT, OTHER = ContractId(b"c" * 32), ContractId(b"d" * 32)


def root_of(version: int) -> bytes:
    return sha256(b"%d" % version)


def record(version: int, epoch: int = 1, root: bytes | None = None) -> ContractRecord:
    return ContractRecord(
        creator=bytes(32),
        nonce=0,
        code=bytes(32),
        deployment=bytes(32),
        policy=ContractPolicy(),
        phase="active",
        epoch=epoch,
        version=version,
        state_root=root_of(version) if root is None else root,
    )


@pytest.fixture
def marks() -> Marks:
    made = Marks(ForgetfulVault())
    made.see(CONTRACT, record(5, epoch=2), 40)
    return made


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(record(4, epoch=2), id="an earlier version"),
        pytest.param(record(5, epoch=1), id="an earlier key epoch"),
        pytest.param(record(6, epoch=1), id="an earlier key epoch, a later version"),
        pytest.param(record(5, epoch=2, root=root_of(4)), id="another state of the same version"),
        pytest.param(None, id="no contract any more"),
    ],
)
def test_what_was_put_back_is_refused_and_moves_nothing(marks, shown) -> None:
    before = marks.of(CONTRACT)
    for height in (40, 41):
        with pytest.raises(RollbackDetected):
            marks.see(CONTRACT, shown, height)
    assert marks.of(CONTRACT) == before
    marks.see(CONTRACT, record(5, epoch=2), 42)


@pytest.mark.parametrize(("version", "epoch"), [(5, 2), (6, 2), (5, 3), (6, 3)])
def test_what_goes_on_is_taken(marks, version, epoch) -> None:
    marks.see(CONTRACT, record(version, epoch), 41)
    assert marks.of(CONTRACT) == mark_of(CONTRACT, record(version, epoch))
    assert marks.height_of([CONTRACT, OTHER]) == 41
    assert marks.height_of([OTHER]) == 0


def test_a_node_that_lags_proves_no_rollback_and_another_state_is_one_under_any_header(marks) -> None:
    for shown in (record(4, epoch=2), record(5), None):
        with pytest.raises(StaleAnswer):
            marks.see(CONTRACT, shown, 39)
    with pytest.raises(RollbackDetected):
        marks.see(CONTRACT, record(5, epoch=2, root=root_of(4)), 39)
    # What it proves of the present is the present all the same.
    marks.see(CONTRACT, record(5, epoch=2), 39)
    assert marks.height_of([CONTRACT]) == 40


def test_what_was_never_seen_is_no_rollback(marks) -> None:
    marks.see(OTHER, None, 41)
    assert marks.of(OTHER) is None
    marks.see(OTHER, record(0), 41)
    assert marks.of(OTHER) == mark_of(OTHER, record(0))
    assert len(marks) == 2


def test_of_more_contracts_than_are_remembered_the_first_are(monkeypatch, marks) -> None:
    monkeypatch.setattr(module, "MAX_MARKS", 1)
    marks.see(OTHER, record(3), 41)
    assert marks.contracts == (CONTRACT,)
    marks.see(CONTRACT, record(6, epoch=2), 41)
    with pytest.raises(RollbackDetected):
        marks.see(CONTRACT, record(5, epoch=2), 42)


def test_a_restart_remembers_and_writes_come_at_most_once_a_second(marks) -> None:
    vault = ForgetfulVault()
    written = Marks(vault)
    written.keep(0.0)
    assert not vault.holds("states")
    written.see(CONTRACT, record(5), 40)
    written.keep(0.5)
    assert not vault.holds("states")
    written.keep(1.0)
    first = vault.read("states").reveal()
    assert len(first) == 88
    written.see(CONTRACT, record(5), 60)
    written.keep(3.0)
    assert vault.read("states").reveal() == first  # a later header that proves the same is not worth a write
    again = Marks(vault)
    assert again.of(CONTRACT) == mark_of(CONTRACT, record(5))
    with pytest.raises(RollbackDetected):
        again.see(CONTRACT, record(4), 61)


@pytest.mark.parametrize("kept", [b"x", bytes(87), bytes(89)])
def test_a_file_that_holds_no_marks_is_an_attack(kept) -> None:
    vault = ForgetfulVault()
    vault.write("states", SecretBytes(kept))
    with pytest.raises(RollbackDetected):
        Marks(vault)


class Remembering(RuleBasedStateMachine):
    """A gatekeeper that is shown a chain, out of order, and lies in between; its process dies, its disk stays."""

    @initialize()
    def begin(self) -> None:
        self.vault = ForgetfulVault()
        self.marks = Marks(self.vault)
        self.chain = [(0, 1)]
        """Version and epoch under each header, from height 1."""
        self.seen = 0
        """Height of the furthest record that was shown, or 0."""
        self.sealed = 0

    @rule(versions=st.integers(0, 2), epochs=st.integers(0, 1))
    def block(self, versions: int, epochs: int) -> None:
        version, epoch = self.chain[-1]
        self.chain.append((version + versions, epoch + epochs))

    @rule(data=st.data())
    def honest(self, data) -> None:
        """Any header of the chain: taken, or told to be late; never a rollback."""
        height = data.draw(st.integers(1, len(self.chain)))
        at, furthest = self.chain[height - 1], self.chain[self.seen - 1] if self.seen else (0, 0)
        try:
            self.marks.see(CONTRACT, record(*at), height)
        except StaleAnswer:
            assert height < self.marks.height_of([CONTRACT])
            assert at[0] < furthest[0] or at[1] < furthest[1]
        else:
            assert at[0] >= furthest[0]
            assert at[1] >= furthest[1]
            self.seen = max(self.seen, height)

    @rule(data=st.data())
    def rollback(self, data) -> None:
        """An earlier record under the newest header or a later one; or another state."""
        if not self.seen:
            return
        version, epoch = self.chain[self.seen - 1]
        lies = [replace(record(version, epoch), state_root=root_of(version + 1))]
        lies += [record(version - back, epoch) for back in range(1, version + 1)]
        lies += [record(version + 1, epoch - back) for back in range(1, epoch)]
        height = len(self.chain) + data.draw(st.integers(0, 3))
        with pytest.raises(RollbackDetected):
            self.marks.see(CONTRACT, data.draw(st.sampled_from(lies)), height)

    @rule()
    def seal(self) -> None:
        self.marks.keep_now()
        self.sealed = self.seen

    @rule(is_clean=st.booleans())
    def restart(self, is_clean: bool) -> None:
        """What was sealed is remembered; what came after, only by a process that ends in order."""
        if is_clean:
            self.seal()
        self.marks, self.seen = Marks(self.vault), self.sealed

    @invariant()
    def the_mark_is_the_furthest_record_shown(self) -> None:
        if hasattr(self, "marks"):
            mark = self.marks.of(CONTRACT)
            shown = self.chain[self.seen - 1] if self.seen else None
            assert shown == (None if mark is None else (mark.version, mark.epoch))


Remembering.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestRemembering = Remembering.TestCase
