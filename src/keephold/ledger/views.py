"""One block as the streams see it: which of its transactions concern whom. Computed once a block, for all readers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keephold.chain import merkle
from keephold.protocol.custody import DkgComplaint, DkgDealing, DkgExtraction, DkgKeys, DkgVerdict
from keephold.protocol.transactions import (
    Call,
    Echo,
    KeyRelease,
    KeyRequest,
    SubmitMigration,
    SubmitResult,
    Transaction,
    Vouch,
)
from keephold.protocol.wire import TransactionResult, TreeProof

_CUSTODY: Final = (DkgKeys, DkgDealing, DkgVerdict, DkgComplaint, DkgExtraction, KeyRequest, Echo, Vouch)


@dataclass(frozen=True, slots=True)
class AcceptedResult:
    """A result that the block accepted."""

    contract: bytes
    first: int
    count: int
    position: int


@dataclass(frozen=True, slots=True)
class BlockView:
    """A block's content by whom it concerns; positions ascend."""

    height: int
    raws: tuple[bytes, ...]
    ids: tuple[bytes, ...]
    transactions: tuple[Transaction | None, ...]
    """None where the bytes do not open."""
    results: tuple[TransactionResult, ...]
    accepted: tuple[AcceptedResult, ...]
    changed: frozenset[bytes] | None
    """Map paths whose value changed; None when that is not known any more."""
    by_contract: Mapping[bytes, Sequence[int]]
    by_identity: Mapping[bytes, Sequence[int]]
    custody: Sequence[int]


def view(
    height: int,
    raws: tuple[bytes, ...],
    ids: tuple[bytes, ...],
    transactions: tuple[Transaction | None, ...],
    results: tuple[TransactionResult, ...],
    accepted: tuple[AcceptedResult, ...],
    changed: frozenset[bytes] | None,
) -> BlockView:
    """Return the view of a block."""
    by_contract: defaultdict[bytes, list[int]] = defaultdict(list)
    by_identity: defaultdict[bytes, list[int]] = defaultdict(list)
    custody = []
    for position, transaction in enumerate(transactions):
        if transaction is None:
            continue
        by_identity[transaction.sender].append(position)
        match transaction.body:
            case Call(contract=contract):
                by_contract[contract].append(position)
            case SubmitResult(result=result):
                by_contract[result.contract].append(position)
            case SubmitMigration(migration=migration):
                by_contract[migration.contract].append(position)
            case KeyRelease(worker=addressee) | Vouch(target=addressee) if addressee != transaction.sender:
                by_identity[addressee].append(position)
            case _:
                pass
        if isinstance(transaction.body, _CUSTODY):
            custody.append(position)
    return BlockView(
        height, raws, ids, transactions, results, accepted, changed, dict(by_contract), dict(by_identity), custody
    )


def tree_proofs(leaves: Sequence[bytes]) -> list[TreeProof]:
    """Return the inclusion proof of every leaf, hashing the tree once."""
    levels = [[merkle.leaf_hash(leaf) for leaf in leaves]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = [merkle.node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)]
        levels.append([*level, below[-1]] if len(below) & 1 else level)
    return [TreeProof(index, len(leaves), _siblings(levels, index)) for index in range(len(leaves))]


def _siblings(levels: Sequence[Sequence[bytes]], index: int) -> tuple[bytes, ...]:
    aunts = []
    for level in levels:
        if index ^ 1 < len(level):
            aunts.append(level[index ^ 1])
        index >>= 1
    return tuple(aunts)
