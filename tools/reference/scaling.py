"""Tables and plots of docs/scaling.md, from the figures that `make bench-cometbft` measured: docs/scaling/figures.json.

Nothing here measures. What is derived says from what: each estimate is a formula over the table above it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from keephold.base import limits
from reference.charts import Bar, Panel, bars, panels, spelled
from reference.source import table

PLACE: Final = Path(__file__).parents[2] / "docs" / "scaling"
_ROLES: Final = ("cometbft", "nodes", "worker", "execution", "gatekeepers", "clients")
_DAY: Final = 86_400
_HEARTBEATS: Final = _DAY // 30
_CALLS_PER_ROUND: Final = 10
_LOG_MB: Final = 2**30 / 1e6
"""Of CometBFT's write-ahead log: what its file groups may hold, which it lets nobody set."""
_PROCESS_MB: Final = 30
"""Of an execution process: `base.limits.MAX_CONTRACTS_PER_WORKER`."""

Row = dict[str, Any]


@cache
def figures() -> dict[str, Any]:
    """Return all that was measured."""
    return json.loads((PLACE / "figures.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def rows(part: str) -> list[Row]:
    """Return the measured rows of a part."""
    return list(figures()[part]["rows"])


# --- tables ---


def measured() -> str:
    """Return when, where and beside what each part was measured."""
    lines = []
    for part, told in figures().items():
        facts = told["machine"]
        where = f"{facts['cores']} cores of {facts['processor']}"
        commit = facts["commit"][:12] + (" with changes" if facts["changed"] else "")
        lines.append((part, facts["date"], commit, where, spelled(facts["load_before"])))
    return table(("part", "measured", "commit", "machine", "load before"), lines)


def networks() -> str:
    """Return rates and waiting times."""
    heads = ("", *map(_network, rows("networks")))
    lines = [
        ("sealed calls proven, calls/s", "calls_per_s"),
        ("from sealing to the proven receipt, p50, ms", "receipt_p50_ms"),
        ("the same, p95", "receipt_p95_ms"),
        ("from signing to the verified order, p50, ms", "order_p50_ms"),
        ("the same, p95", "order_p95_ms"),
        ("blocks/s", "blocks_per_s"),
        ("bytes of a call's transaction", "call_bytes"),
        ("bytes of blocks for each transaction, results included", "block_bytes"),
        ("kvstore: transactions/s", "kvstore_per_s"),
        ("kvstore: from sending to the block, p50, ms", "kvstore_p50_ms"),
        ("calls for each transaction of the kvstore", "ratio"),
        ("cores used", "cores"),
        ("cores that other programs used meanwhile", "other_cores"),
    ]
    return table(heads, [(said, *(_cell(row, name) for row in rows("networks"))) for said, name in lines])


def running() -> str:
    """Return what networks of several sizes need and do, on one machine."""
    some = rows("running")
    heads = ("validators", *(spelled(row["validators"]) for row in some))
    lines = [
        ("from the start to the first block, s", "first_block_s"),
        ("from the start until transactions are taken, s", "ready_s"),
        ("memory of a node, MB", "node_mb"),
        ("memory of its CometBFT, MB", "cometbft_mb"),
        ("memory of everything that runs, MB", "network_mb"),
        ("at rest: processor time of a node, ms each second", "rest_node_ms"),
        ("at rest: of its CometBFT, ms each second", "rest_cometbft_ms"),
        ("one transaction at a time: from signing to the verified order, p50, ms", "alone_order_p50_ms"),
        ("the same, p95", "alone_order_p95_ms"),
        ("blocks/s meanwhile", "alone_blocks_per_s"),
        ("64 sealed calls under way: proven, calls/s", "calls_per_s"),
        ("from sealing to the proven receipt, p50, ms", "receipt_p50_ms"),
        ("the same, p95", "receipt_p95_ms"),
        ("from signing to the verified order, p50, ms", "load_order_p50_ms"),
        ("the same, p95", "load_order_p95_ms"),
        ("blocks/s meanwhile", "load_blocks_per_s"),
        ("calls that failed", "failed_calls"),
        ("processor time of all programs for each call, ms", "cpu_call_ms"),
        ("cores used", "cores"),
        ("cores that other programs used meanwhile", "other_cores"),
        ("bytes of a header and its commit", "header_bytes"),
        ("votes in a commit", "votes"),
        ("bytes of the validator set", "set_bytes"),
        ("killed at once, `kill -9`", "killed"),
        ("without them: from signing to the verified order, p50, ms", "less_order_p50_ms"),
        ("the same, p95", "less_order_p95_ms"),
        ("blocks/s meanwhile", "less_blocks_per_s"),
        ("until they had the newest block again, s", "return_s"),
    ]
    return table(heads, [(said, *(_cell(row, name) for row in some)) for said, name in lines])


def files() -> str:
    """Return what a pruning node's files hold, for each block and after a day."""
    resting, busy = rows("files")
    made = ((resting, _HEARTBEATS), (busy, 4 * _DAY))
    kept = 2 * _HEARTBEATS, 2 * 4 * _DAY

    def each(name: str) -> list[str]:
        return [spelled(row[name]) for row, _ in made]

    def day(name: str) -> list[str]:
        return [f"{spelled(row[name] * blocks / 1e6)} MB" for row, blocks in made]

    def lag(row: Row) -> str:
        return f"{spelled(row['stores_mb'] - row['stores_compacted_mb'])} MB here"

    headers = "each block leaves its header and commit for ever, as clients follow them from the genesis"
    holes = "hash, time and app hash of each block stay; where ids and results went, pages keep room"
    logs = [row["log_bytes_per_block"] * blocks / 1e6 for row, blocks in made]
    ends = "at 1 GiB CometBFT forgets the oldest 10 MB"
    stores = [
        f"{spelled(row['stores_bytes_per_kept_block'] * count / 1e6)} MB"
        for (row, _), count in zip(made, kept, strict=True)
    ]
    return table(
        ("file", "bytes a block, resting", "busy", "a resting day", "a busy day", "where it ends"),
        [
            ("`blocks.db`: headers", *each("headers_bytes_per_block"), *day("headers_bytes_per_block"), headers),
            ("`ledger.db`: blocks", *each("rows_bytes_per_block"), *day("rows_bytes_per_block"), holes),
            (
                "`cometbft/data/cs.wal`",
                *each("log_bytes_per_block"),
                *(f"{spelled(size)} MB" if size < _LOG_MB else f"{spelled(_LOG_MB)} MB: full" for size in logs),
                ends,
            ),
            (
                "`blockstore.db`, `state.db`",
                *each("stores_bytes_per_kept_block"),
                *(f"{size} in two days" for size in stores),
                "blocks of two days, then no more",
            ),
            (
                "the same: deleted, not yet compacted",
                "",
                "",
                lag(resting),
                lag(busy),
                "goleveldb gives room back when it merges files of a few MB",
            ),
            (
                "`evidence.db`",
                "",
                "",
                *(f"{spelled(row['evidence_mb'])} MB" for row, _ in made),
                "evidence of two days",
            ),
        ],
    )


def costs() -> str:
    """Return processor time for each call, all processes of a role together."""
    heads = ("ms of CPU for each call", *map(_network, rows("networks")))
    names = [(role, f"cpu_{role}_ms") for role in _ROLES]
    lines = [(said, *(_cell(row, name) for row in rows("networks"))) for said, name in names]
    lines.append(("**all**", *(f"**{spelled(_cost(row))}**" for row in rows("networks"))))
    lines.append(("calls/s that one core bears", *(spelled(1000 / _cost(row)) for row in rows("networks"))))
    kvstore = [spelled(row["cpu_kvstore_ms"]) if "cpu_kvstore_ms" in row else "" for row in rows("networks")]
    lines.append(("*kvstore: all CometBFTs, for each transaction*", *kvstore))
    return table(heads, lines)


def days() -> str:
    """Return what a day adds to a node, by the fitted lines."""
    lines = []
    for said, part, rounds, what in (
        ("idle", "idle", _HEARTBEATS, f"{_HEARTBEATS} heartbeats"),
        ("busy", "busy", _DAY, f"{_CALLS_PER_ROUND} calls a second: {4 * _DAY} blocks"),
        ("busy, history pruned", "pruned", _DAY, f"the same, {rows('pruned')[0]['window_s']:g} s of history kept"),
    ):
        row = rows(part)[0]
        lines.append(
            (
                said,
                what,
                f"{row['rounds']:,.0f}".replace(",", "\u202f"),
                f"{spelled(row['memory_mb'])} + {_slope(row, 'memory', rounds)} MB",
                f"{spelled(row['sqlite_mb'])} MB",
                f"{spelled(row['disk_mb'])} + {_slope(row, 'disk', rounds)} MB",
            )
        )
    heads = ("a day", "of what", "rounds measured", "memory: base + day", "SQLite's caches", "disk: base + day")
    return table(heads, lines)


def _slope(row: Row, name: str, rounds: int) -> str:
    """Return what so many rounds add by the fitted line, and twice its standard error; or that nothing shows."""
    adds, error = (row[f"{name}_{what}"] * rounds / 1e6 for what in ("bytes_per_round", "error_bytes_per_round"))
    return f"{spelled(adds)} ± {spelled(error)}" if abs(adds) > error else f"0 ± {spelled(max(error, abs(adds)))}"


def plan() -> str:
    """Return what a thousand contracts and a hundred workers need, by the model."""
    contracts = {row["size"]: row for row in rows("contracts")}
    thousand = contracts[1000]
    workers = -(-1000 // limits.MAX_CONTRACTS_PER_WORKER)
    execution = rows("networks")[-1]
    slower = max(execution["cpu_worker_ms"], execution["cpu_execution_ms"])
    stream = thousand["frame_ms"]
    return table(
        ("what", "how much", "from"),
        [
            (
                "workers for 1000 contracts, one each",
                f"{workers}; {2 * workers} where each has two",
                f"`MAX_CONTRACTS_PER_WORKER` = {limits.MAX_CONTRACTS_PER_WORKER}",
            ),
            (
                "memory of a full worker's execution processes",
                f"{limits.MAX_CONTRACTS_PER_WORKER * _PROCESS_MB / 1000:.1f} GB",
                f"{_PROCESS_MB} MB a contract",
            ),
            (
                "keys of a full worker, once a boot, beside the gatekeepers' answers",
                (
                    f"{spelled(limits.MAX_CONTRACTS_PER_WORKER * thousand['keys_ms'])} ms, "
                    f"{spelled(limits.MAX_CONTRACTS_PER_WORKER * thousand['keys_kb'])} kB"
                ),
                "measured, times contracts",
            ),
            (
                "a node's memory for 1000 contracts without state",
                f"{spelled(thousand['memory_mb'])} MB",
                "measured",
            ),
            (
                "an empty block with 1000 contracts",
                f"{spelled(thousand['empty_block_ms'])} ms",
                f"measured; {spelled(contracts[10]['empty_block_ms'])} ms with 10",
            ),
            (
                "frames of one block for 100 workers that follow a contract each",
                f"{spelled(100 * stream)} ms of a node",
                "measured for one, the first to ask, times 100: spread them over nodes",
            ),
            (
                "calls/s of one contract at most, on a machine of its own",
                spelled(1000 / slower),
                "the slower of worker and execution process: they work side by side",
            ),
            (
                "calls/s of one contract at most, by its batches",
                f"{limits.MAX_BATCH} for each block that carries calls",
                "`MAX_BATCH`",
            ),
            (
                "calls/s of the whole network at most, by the node's processor time",
                spelled(1000 * execution["validators"] / execution["cpu_nodes_ms"]),
                "one core for each node's Python, every node applies every call",
            ),
            (
                "calls/s of the whole network at most, by blocks",
                f"{limits.MAX_BLOCK_TRANSACTIONS} transactions or {limits.MAX_BLOCK_BYTES >> 20} MiB a block",
                "`MAX_BLOCK_TRANSACTIONS`, `MAX_BLOCK_BYTES`",
            ),
        ],
    )


def grown(part: str) -> Callable[[], str]:
    """Return the maker of a table of what grows with one size."""
    return lambda: _grown(part)


def _grown(part: str) -> str:
    shown = [row | {"size": row.get("size", row.get("slots"))} for row in rows(part)]
    names = [name for name in shown[0] if name not in ("size", "slots")]
    heads = (part, *(spelled(row["size"]) for row in shown))
    return table(heads, [(_said(name), *(spelled(row[name]) for row in shown)) for name in names])


def _said(name: str) -> str:
    """Return `append_ms` as `append, ms`."""
    words, _, unit = name.rpartition("_")
    units = {"ms": "ms", "us": "µs", "s": "s", "mb": "MB", "kb": "kB", "bytes": "bytes"}
    return f"{words.replace('_', ' ')}, {units[unit]}" if unit in units else name.replace("_", " ")


def _network(row: Row) -> str:
    many = f"{row['validators']} validator{'s' if row['validators'] > 1 else ''}"
    return "embedded engine" if row["engine"] == "embedded" else f"CometBFT, {many}"


def _cell(row: Row, name: str) -> str:
    return spelled(row[name]) if name in row else ""


def _cost(row: Row) -> float:
    return float(sum(row.get(f"cpu_{role}_ms", 0.0) for role in _ROLES))


# --- plots ---


def plots() -> dict[str, str]:
    """Return every plot by its file's name in docs/scaling."""
    nets = rows("networks")
    return {
        "rates.svg": bars(
            "Sealed calls proven, beside the kvstore's transactions",
            "a second",
            ("sealed calls", "transactions of the kvstore"),
            [
                bar
                for row in nets
                for bar in (
                    Bar(_network(row), (row["calls_per_s"],)),
                    *((Bar("its kvstore", (0, row["kvstore_per_s"])),) if "kvstore_per_s" in row else ()),
                )
            ],
        ),
        "costs.svg": bars(
            "Processor time of one sealed call",
            "ms",
            _ROLES,
            [Bar(_network(row), [row.get(f"cpu_{role}_ms", 0.0) for role in _ROLES]) for row in nets],
        ),
        "running.svg": _plot(
            "Networks that run, all on one machine",
            "running",
            "validators",
            ("memory of a CometBFT", "MB", "cometbft_mb"),
            ("a CometBFT at rest", "ms CPU each second", "rest_cometbft_ms"),
            ("order, nothing else", "ms, p50", "alone_order_p50_ms"),
            ("first block after", "s", "first_block_s"),
            ("memory of a node", "MB", "node_mb"),
            ("sealed calls", "a second", "calls_per_s"),
            ("order under load", "ms, p50", "load_order_p50_ms"),
            ("header and commit", "bytes", "header_bytes"),
        ),
        "slots.svg": _plot(
            "What grows with slots",
            "slots",
            "slots",
            ("memory", "MB", "memory_mb"),
            ("start", "s", "start_s"),
            ("block of 128 writes", "ms", "block_ms"),
            ("proof", "µs", "proof_us"),
        ),
        "inbox.svg": _plot(
            "What grows with an inbox",
            "inbox",
            "calls that wait",
            ("appending a call", "ms", "append_ms"),
            ("a block with a result", "ms", "result_ms"),
            ("proof of the inbox", "bytes", "proof_bytes"),
            ("a page for a late worker", "ms", "page_ms"),
        ),
        "contracts.svg": _plot(
            "What grows with contracts",
            "contracts",
            "contracts",
            ("empty block", "ms", "empty_block_ms"),
            ("128 calls to all", "ms", "block_to_all_ms"),
            ("one contract's frame", "ms", "frame_ms"),
            ("memory of the node", "MB", "memory_mb"),
        ),
        "validators.svg": _plot(
            "What a light client does for a header",
            "validators",
            "validators",
            ("adjacent header", "ms", "adjacent_ms"),
            ("skipping header", "ms", "skipping_ms"),
            ("header and commit", "bytes", "header_bytes"),
            ("validator set", "bytes", "set_bytes"),
        ),
    }


def _plot(title: str, part: str, across: str, *shown: tuple[str, str, str]) -> str:
    key = {"slots": "slots", "running": "validators"}.get(part, "size")
    return panels(
        title,
        [
            Panel(said, unit, across, [(float(row[key]), float(row[name])) for row in rows(part)])
            for said, unit, name in shown
        ],
    )


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "scaling-measured": measured,
    "scaling-networks": networks,
    "scaling-running": running,
    "scaling-costs": costs,
    "scaling-files": files,
    "scaling-days": days,
    "scaling-plan": plan,
    **{f"scaling-{part}": grown(part) for part in ("slots", "inbox", "contracts", "validators")},
}
