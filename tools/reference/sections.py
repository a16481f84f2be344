"""Every generated section by the name that its markers bear."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from keephold.client import keystore
from keephold.programs import cometbft, enclaves, gatekeeper, history, node, worker
from keephold.protocol import (
    channel,
    contracts,
    custody,
    evidence,
    genesis,
    governance,
    holders,
    marks,
    messages,
    offences,
    permits,
    state,
    transactions,
    types,
    wire,
)
from reference import errors, interfaces, labels, pictures, scaling
from reference.records import fields, limit_table, record, records, refusal_table
from reference.source import line, module_definitions, table

DOCS: Final = Path(__file__).parents[2] / "docs"
MARKED: Final = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n)(?:(?!<!-- ).*\n)*(<!-- end -->)")
"""Lines between two markers; a marker without its end matches nothing, and a test says so."""


def _types() -> str:
    rows = [(f"`{item.name}`", f"`{line(item.value)}`", line(item.doc)) for item in module_definitions(types)]
    return table(("type", "bounds", ""), rows)


def _paths() -> str:
    """Return the map's paths: what each function hashes, and what lies there."""
    rows = []
    for module in (state, holders, offences):
        for name, function in vars(module).items():
            if name.endswith("_path") and function.__module__ == module.__name__:
                rows.append((f"`{name}`", f"`{labels.hashed(module, name)}`", line(function.__doc__.split("\n\n")[0])))
    rows.sort()
    return table(("function", "parts", "what lies there"), rows)


def _release() -> str:
    return "\n\n".join((records(messages, "ReleasePlain", level=4), records(marks, "Mark", level=4)))


def _bodies() -> str:
    return "\n\n".join(
        record(custody if kind.__module__ == custody.__name__ else transactions, kind.__name__)
        for kind in transactions.Body.__args__
    )


def _decisions() -> str:
    """Return the records by their headings, oldest first."""
    rows = []
    for path in sorted((DOCS / "adr").glob("[0-9]*.md")):
        number, _, decided = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(": ")
        rows.append((f"[{number}]({path.name})", decided))
    return table(("", "decided"), rows)


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "labels": labels.label_table,
    "types": _types,
    "limits": limit_table,
    "errors": errors.error_table,
    "reasons": errors.reason_table,
    "refusals": refusal_table,
    "commands": interfaces.commands,
    "rest": interfaces.rest_table,
    "rest-schemas": interfaces.rest_schemas,
    "endpoints": interfaces.endpoint_table,
    "ceremony-phases": pictures.phases,
    "genesis": partial(records, genesis),
    "contracts": partial(records, contracts, "Code", "ContractPolicy"),
    "signed-transaction": partial(records, transactions, "Transaction", "SignedTransaction"),
    "bodies": _bodies,
    "parts": partial(records, transactions, "SlotWrite", "SealedEvent", "Result", "Migration"),
    "governance": partial(records, governance),
    "state": partial(records, state),
    "holders": partial(records, holders),
    "offences": partial(records, offences),
    "paths": _paths,
    "call-plain": partial(records, messages, "CallPlain", level=4),
    "reply": partial(records, messages, "Reply", level=4),
    "event-plain": partial(records, messages, "EventPlain", level=4),
    "query": partial(records, messages, "QueryBody", "SignedQuery", "PermittedQuery", "Asked", level=4),
    "permit": partial(records, permits, "Permit", "SignedPermit", level=4),
    "answer": partial(records, messages, "Answer", level=4),
    "slot": partial(records, messages, "SlotPlain", "SealedSlot", level=4),
    "release": _release,
    "evidence": partial(records, evidence),
    "committee": partial(records, custody, "CommitteeSeat", "CommitteeKeys", "PartialBatch"),
    "round": partial(records, custody, "Dealer", "Receiver", "Drop", "RoundState"),
    "wire": partial(records, wire),
    "message-plain": partial(records, messages, "MessagePlain"),
    "channel": partial(records, channel),
    "keystore": partial(records, keystore, "Stretching", "Directory"),
    "config-enclave": partial(fields, enclaves, "EnclaveConfig"),
    "config-platform": partial(fields, enclaves, "PlatformConfig"),
    "config-worker": partial(fields, worker, "WorkerConfig"),
    "config-node": partial(fields, node, "NodeConfig"),
    "config-cometbft": partial(fields, cometbft, "CometConfig"),
    "config-history": partial(fields, history, "HistoryConfig"),
    "decisions": _decisions,
    **scaling.SECTIONS,
}
"""`gatekeeper` adds no key to an enclave's; a test asks that this stays so."""


def filled(text: str) -> str:
    """Return a page with its generated sections as the code has them now; KeyError for an unknown name."""
    return MARKED.sub(lambda found: f"{found[1]}\n{SECTIONS[found['name']]()}\n\n{found[3]}", text)


def pages() -> list[Path]:
    """Return the pages that hold generated sections."""
    return [path for path in sorted(DOCS.rglob("*.md")) if MARKED.search(path.read_text(encoding="utf-8"))]


def is_gatekeeper_plain() -> bool:
    """Say whether a gatekeeper's file has no key beside every enclave's."""
    return gatekeeper.GatekeeperConfig.__struct_fields__ == enclaves.EnclaveConfig.__struct_fields__
