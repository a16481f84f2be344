"""The key ceremony's phases, drawn from the table by which the rules go on."""

from __future__ import annotations

from keephold.custody.public import acceptance, transcript


def phases() -> str:
    """Return each phase, what it takes, what ends it, and what follows."""
    lines = []
    for purpose in ("generation", "resharing"):
        chain = ["keys"]
        while following := transcript._NEXT.get((purpose, chain[-1])):  # noqa: SLF001 - the table is the law
            chain.append(following)
        lines.append(f"{purpose + ':':<12}" + " ──> ".join(chain))
    lines += ["", "accepted where:"]
    lines += [f"  {phase:<11} {kind.__name__}" for kind, phase in acceptance.HANDLERS]
    return "```text\n" + "\n".join(lines) + "\n```"
