"""A trust report as a picture (SVG): who holds which key, who breaks as one, and what it takes. Pure.

Three columns, from those who hold nothing of the contract to those who hold its key in parts: law, order and vendors;
workers; gatekeepers. Enclaves of one party carry its letter and colour. Below: the smallest sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from textwrap import wrap
from typing import Final

from keephold.client.breaking import Breaking, Party
from keephold.client.trust import TrustReport
from keephold.client.trust_facts import Enclave
from keephold.client.trust_words import duration

_WIDTH: Final = 1120
_COLUMNS: Final = (24, 396, 768)
_BOX: Final = 328
_LINE: Final = 18
_GAP: Final = 14
_TOP: Final = 132
_FILLS: Final = ("#e8f4ea", "#eaf0fb", "#fbf1e0", "#f3e8f6", "#e3f3f5", "#f7ece8", "#f0f3dc", "#ececf4")
_PLAIN: Final = "#f5f5f8"
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SHOWN: Final = 4
_CUT: Final = 150


@dataclass(frozen=True, slots=True)
class _Box:
    title: str
    lines: tuple[str, ...]
    fill: str = _PLAIN
    stroke: str = "#334"

    @property
    def height(self) -> int:
        return 30 + _LINE * len(self.lines)


def picture(report: TrustReport) -> str:
    """Return the report as an SVG document."""
    marks = _marks(report)
    columns = (_outside(report), _workers(report, marks), _gatekeepers(report, marks))
    titles = ("Law, order, hardware", "Workers: hold the ContractKey", "Gatekeepers: hold shares of the MasterKey")
    drawn: list[str] = []
    for left, title, boxes in zip(_COLUMNS, titles, columns, strict=True):
        drawn.append(_text(left, _TOP - 14, title, weight=700))
        top = _TOP
        for box in boxes:
            drawn.append(_box(left, top, box))
            top += box.height + _GAP
    bottom = _TOP + max(sum(box.height + _GAP for box in boxes) for boxes in columns)
    drawn += _arrow(report)
    legend, end = _sets(report, marks, bottom + 20)
    drawn += legend
    facts = report.facts
    head = [
        _text(24, 34, f"Whom contract {facts.name} rests on", weight=700, size=18),
        _text(24, 58, f"{facts.contract.hex()}   epoch {facts.epoch}   {facts.phase}"),
        _text(24, 78, f"network {facts.network.hex()[:16]}   header {facts.height} ({facts.header_hash.hex()[:16]})"),
    ]
    if report.is_simulated:
        head += [
            f'<rect x="{_WIDTH - 364}" y="16" width="340" height="34" rx="6" fill="#b3261e"/>',
            _text(_WIDTH - 352, 38, "TEE: SIMULATED. Protects nothing here.", weight=700, fill="#fff"),
        ]
    return "\n".join(
        (
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {end}" width="{_WIDTH}" height="{end}" '
                'font-family="system-ui,sans-serif" font-size="13">'
            ),
            f"<title>{escape(f'Whom contract {facts.name} rests on')}</title>",
            (
                '<defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
                'orient="auto"><path d="M0 0L10 5L0 10z" fill="#334"/></marker></defs>'
            ),
            f'<rect width="{_WIDTH}" height="{end}" fill="#fff"/>',
            *head,
            *drawn,
            "</svg>",
            "",
        )
    )


def _marks(report: TrustReport) -> dict[Party, tuple[str, str]]:
    """Return letter and colour of each party that runs enclaves."""
    facts = report.facts
    order = (*facts.workers, *facts.departed, *facts.committee.members, *facts.committee.successors)
    parties = dict.fromkeys(_party(report, enclave) for enclave in order)
    marks = {}
    for index, party in enumerate(parties):
        turn, letter = divmod(index, len(_LETTERS))
        marks[party] = (_LETTERS[letter] + (str(turn) if turn else ""), _FILLS[index % len(_FILLS)])
    return marks


def _party(report: TrustReport, enclave: Enclave) -> Party:
    return next(party for party, enclaves in report.parties.items() if enclave in enclaves)


def _outside(report: TrustReport) -> list[_Box]:
    facts = report.facts
    law, total = facts.governance, sum(item.power for item in facts.validators)
    keys = [f"key {key.hex()[:16]}" for key in law.keys]
    validators = [f"{item.public_key.hex()[:16]}   power {item.power} of {total}" for item in facts.validators]
    boxes = [
        _Box(
            f"governance: {law.threshold} of {len(law.keys)}",
            (
                f"amends after {duration(law.delay_ns)}; revokes at once",
                *_few(keys),
                "holds: no secret of the contract",
            ),
        ),
        _Box(
            f"validators: {len(facts.validators)}",
            (*_few(validators), "hold: no secret; order and delay", "assign attested workers"),
        ),
    ]
    for vendor in facts.vendors:
        lines: tuple[str, ...] = ("signs for the hardware of enclaves",)
        if vendor.is_simulated:
            lines = ("SIMULATES hardware: a file on a machine,", "whose owner reads everything")
        boxes.append(_Box(f"TEE vendor {vendor.name}", lines, "#fdecea" if vendor.is_simulated else _PLAIN))
    return boxes


def _few(lines: list[str]) -> Iterable[str]:
    return lines if len(lines) <= _SHOWN else (*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more")


def _workers(report: TrustReport, marks: dict[Party, tuple[str, str]]) -> list[_Box]:
    facts = report.facts
    boxes = [_enclave(report, item, marks, f"holds: key of epoch {facts.epoch}") for item in facts.workers]
    boxes += [
        _enclave(report, item, marks, f"left; may hold the key of epoch {facts.epoch}") for item in facts.departed
    ]
    title = f"quorum {facts.quorum} of {len(facts.workers)}, level {facts.level} or better"
    needed = facts.committee.threshold
    return [_Box(title, (f"{needed} gatekeepers' partials make the key" if needed else "no key is made",)), *boxes]


def _gatekeepers(report: TrustReport, marks: dict[Party, tuple[str, str]]) -> list[_Box]:
    committee = report.facts.committee
    boxes = [
        _enclave(report, item, marks, f"holds: share {item.seat} of sharing {committee.sharing_epoch}, pepper")
        for item in committee.members
    ]
    boxes += [
        _enclave(report, item, marks, "successor: receives a share of the next sharing")
        for item in committee.successors
        if item not in committee.members
    ]
    title = f"threshold {committee.threshold} of {len(committee.members)}" if committee.threshold else "nobody sits"
    return [_Box(title, (f"committee {committee.phase}; fewer learn nothing",)), *boxes]


def _enclave(report: TrustReport, enclave: Enclave, marks: dict[Party, tuple[str, str]], holds: str) -> _Box:
    letter, fill = marks[_party(report, enclave)]
    lines = [holds, f"operator {enclave.operator.hex()[:16]}", f"platform {enclave.platform.hex()[:16] or 'unknown'}"]
    if enclave.is_verified:
        until = datetime.fromtimestamp(enclave.lease_ns / 1e9, UTC)
        lines.append(f"level {enclave.level}   lease until {until:%Y-%m-%d %H:%M:%S} UTC")
        if enclave.is_simulated:
            lines.append("SIMULATED hardware")
        return _Box(f"[{letter}] {enclave.label}", tuple(lines), fill, "#2c7a3f")
    return _Box(f"[{letter}] {enclave.label}", (*lines, "does not verify now"), fill, "#b3261e")


def _arrow(report: TrustReport) -> list[str]:
    committee = report.facts.committee
    if not committee.threshold or not report.facts.workers:
        return []
    y = _TOP + 24
    return [
        (
            f'<path d="M{_COLUMNS[2]} {y}L{_COLUMNS[1] + _BOX} {y}" stroke="#334" stroke-width="1.5" fill="none" '
            'marker-end="url(#a)"/>'
        ),
    ]


def _sets(report: TrustReport, marks: dict[Party, tuple[str, str]], top: int) -> tuple[list[str], int]:
    """Return the three goals with their smallest sets, and where they end."""
    drawn, y = [], top
    for goal in (report.reveal, report.forge, report.stop):
        drawn.append(_text(24, y, headline(goal), weight=700))
        y += _LINE
        shown = goal.smallest[: 2 * _SHOWN] if goal.fewest else ()
        for item in shown:
            names = " and ".join(_named(party, marks) for party in sorted(item))
            drawn.append(_text(40, y, names if len(names) <= _CUT else names[: _CUT - 1] + "…"))
            y += _LINE
        if len(goal.smallest) > len(shown) > 0:
            drawn.append(_text(40, y, f"and {len(goal.smallest) - len(shown)} more sets of this size"))
            y += _LINE
        for way in goal.ways:
            for number, line in enumerate(wrap(f"{count(way.fewest())}: {way.how}", _CUT)):
                drawn.append(_text(56 if number else 40, y, line, size=11, fill="#556"))
                y += _LINE - 2
        y += 12
    return drawn, y + 4


def headline(goal: Breaking) -> str:
    """Return a line on what a goal takes."""
    match goal.fewest:
        case None:
            return f"To {goal.goal}: no set of the parties here suffices."
        case 0:
            return f"To {goal.goal}: nothing is needed, it is so already."
        case 1:
            return f"To {goal.goal}: one party suffices, any one of these:"
        case fewest:
            return f"To {goal.goal}: {fewest} parties together, one of these sets:"


def count(parties: int | None) -> str:
    """Return how many parties a way takes."""
    return "one party" if parties == 1 else f"{parties} parties"


def _named(party: Party, marks: dict[Party, tuple[str, str]]) -> str:
    return f"[{marks[party][0]}] {party.label}" if party in marks else party.label


def _box(left: int, top: int, box: _Box) -> str:
    parts = [
        (
            f'<rect x="{left}" y="{top}" width="{_BOX}" height="{box.height}" rx="8" fill="{box.fill}" '
            f'stroke="{box.stroke}" stroke-width="1.4"/>'
        ),
        _text(left + 12, top + 20, box.title, weight=700, size=12),
        *(_text(left + 12, top + 20 + _LINE * number, line) for number, line in enumerate(box.lines, 1)),
    ]
    return "\n".join(parts)


def _text(
    x: int, y: int, words: str, *, weight: int = 400, size: int = 13, fill: str = "#223", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-weight="{weight}" font-size="{size}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
