"""The key ceremony's phases, drawn and written from the tables by which the rules go on."""

from __future__ import annotations

from typing import Final

from keephold.custody.public import acceptance, transcript
from keephold.protocol.custody import Purpose

_WIDTH: Final = 130
_GAP: Final = 34
_LEFT: Final = 120
_ROW: Final = 120
_TOP: Final = 66
_BOX: Final = 52
_PURPOSES: Final[tuple[Purpose, ...]] = ("generation", "resharing")


def chain(purpose: Purpose) -> list[str]:
    """Return the phases of a ceremony that nothing goes wrong in."""
    found = ["keys"]
    while following := transcript._NEXT.get((purpose, found[-1])):  # type: ignore[call-overload]  # noqa: SLF001 - the law
        found.append(following)
    return found


def phases() -> str:
    """Return each phase, and what it takes, as text."""
    lines = [f"{purpose + ':':<12}" + " ──> ".join(chain(purpose)) for purpose in _PURPOSES]
    lines += ["", "accepted where:", *(f"  {phase:<11} {kind.__name__}" for kind, phase in acceptance.HANDLERS)]
    return "```text\n" + "\n".join(lines) + "\n```"


def phases_svg() -> str:
    """Return the same as a picture."""
    font = 'font-family="system-ui,sans-serif" font-size="13"'
    marker = '<marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 330" {font}>',
        "<title>keephold: the phases of a key ceremony</title>",
        f'<defs>{marker}<path d="M0 0L10 5L0 10z" fill="#334"/></marker></defs>',
        '<rect width="960" height="330" fill="#fff"/>',
    ]
    for row, purpose in enumerate(_PURPOSES):
        top = _TOP + row * _ROW
        parts.append(_text(16, top + 30, purpose, weight=700))
        for at, phase in enumerate(chain(purpose)):
            parts += _phase(_LEFT + at * (_WIDTH + _GAP), top, phase, is_first=at == 0)
    restart = _LEFT + chain("generation").index("extraction") * (_WIDTH + _GAP) + _WIDTH // 2
    keys = _LEFT + _WIDTH // 2
    parts.append(
        f'<path d="M{restart} {_TOP}V{_TOP - 26}H{keys}V{_TOP - 2}" fill="none" stroke="#a33" stroke-dasharray="5 4" '
        'marker-end="url(#a)"/>'
    )
    parts.append(_text(keys + 20, _TOP - 34, "somebody is silent in the extraction: the next round, without him"))
    parts.append(
        _text(
            16,
            296,
            "A phase ends when everybody still in has spoken, or at its deadline: the silent are dropped and named.",
        )
    )
    parts.append(
        _text(
            16, 316, "Too few dealers or receivers left: failed. A resharing that fails leaves the old shares in use."
        )
    )
    return "\n".join([*parts, "</svg>", ""])


def _phase(left: int, top: int, phase: str, *, is_first: bool) -> list[str]:
    fill = "#e8f4ea" if phase == "done" else "#eaf0fb"
    taken = ", ".join(kind.__name__.removeprefix("Dkg") for kind, where in acceptance.HANDLERS if where == phase)
    found = [
        f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_BOX}" rx="8" fill="{fill}" stroke="#334"/>',
        _text(left + 10, top + 22, phase, weight=700),
        _text(left + 10, top + 41, taken, size=11),
    ]
    if not is_first:
        middle = top + _BOX // 2
        found.append(f'<path d="M{left - _GAP} {middle}H{left - 2}" stroke="#334" marker-end="url(#a)"/>')
    return found


def _text(left: int, base: int, words: str, *, weight: int = 400, size: int = 13) -> str:
    return f'<text x="{left}" y="{base}" font-weight="{weight}" font-size="{size}" fill="#223">{words}</text>'
