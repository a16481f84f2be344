"""`keephold govern read`, `sign`, `submit`, `show`: what a proposal changes, whose it is, and the law as it stands.

`read` and `sign` ask no network: the file brings the history that it amends, which the pinned genesis verifies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import DeadlineExceeded, EncodingError, InputError
from keephold.base.limits import MAX_STREAM_FRAME
from keephold.cli.output import emit
from keephold.cli.place import AS_ACCOUNT, ON_NETWORK, AsAccount, OnNetwork
from keephold.client import governing
from keephold.client.governing import Draft, Enactment, Reading
from keephold.client.keystore import replace_file
from keephold.client.law_words import cautions, changes, moment, sentences
from keephold.client.network import Network
from keephold.contract.address import Address
from keephold.crypto.hashing import sha256
from keephold.protocol.codec import decode, encode

ProposalFile = Annotated[Path, Parameter(help="File with the proposal.")]
_NOBODY: Final = "nobody yet"
_CANCELLED: Final = "cancelled before it took effect"


def read(file: ProposalFile, options: OnNetwork = ON_NETWORK) -> None:
    """Show what a proposal changes and who endorsed it; nothing is signed or sent."""
    print_reading(_read(file, options), as_json=options.json)


def sign(file: ProposalFile, options: AsAccount = AS_ACCOUNT) -> None:
    """Show a proposal, and endorse it as an account that holds a governance key; nothing is sent."""
    reading = _read(file, options)
    if not options.json:
        print(_text(reading), flush=True)
    account = options.account(options.pinned())
    reading = governing.endorse(reading, account.key)
    write_draft(file, reading)
    emit(_facts(reading), f"signed as {account.address}; {_endorsed(reading)}", as_json=options.json)


def submit(file: ProposalFile, options: AsAccount = AS_ACCOUNT) -> None:
    """Put a proposal on the ledger; any account may, as only its endorsements count."""
    pinned = options.pinned()
    reading = _read(file, options)
    account = options.account(pinned)
    seconds = options.seconds()
    with Network.connect(pinned.urls, pinned.genesis) as network:
        try:
            enacted = network.run(lambda n: governing.enact(n.connection, account, reading.draft.signed, seconds))
        except TimeoutError:
            raise DeadlineExceeded(f"not enacted within {seconds:g} s; it may still be") from None
    when = _CANCELLED if enacted.effective_ns is None else f"in force from {moment(enacted.effective_ns)} on"
    text = f"enacted, proven at height {enacted.height}; {when}"
    facts = {**_facts(reading), "height": enacted.height, "effective": _effective(enacted.effective_ns)}
    emit(facts, text, as_json=options.json)


def show(options: OnNetwork = ON_NETWORK) -> None:
    """Show the law in force, what is enacted and waits, and who signed what: verified from the pinned genesis."""
    pinned = options.pinned()
    with Network.connect(pinned.urls, pinned.genesis) as network:
        standing = network.run(lambda n: governing.standing(n.connection))
    law = sentences(standing.law)
    facts = {
        "time": moment(standing.time_ns),
        "law": law,
        "cautions": cautions(standing.law),
        "pending": [_enactment(item) for item in standing.pending],
        "history": [_enactment(item) for item in standing.history],
    }
    lines = [
        f"the law at {moment(standing.time_ns)}, after {len(standing.history)} amendments:",
        *(f"  {line}" for line in law),
        *(f"  caution: {line}" for line in cautions(standing.law)),
        *(_amendments("enacted, not in force yet", standing.pending) or ["nothing waits for its delay"]),
        *_amendments("history", standing.history),
    ]
    emit(facts, "\n".join(lines), as_json=options.json)


def print_reading(reading: Reading, *, as_json: bool) -> None:
    """Print what a proposal changes and who endorsed it."""
    emit(_facts(reading), _text(reading), as_json=as_json)


def write_draft(path: Path, reading: Reading) -> None:
    """Write the file that travels between the holders of keys."""
    replace_file(path, encode(reading.draft))


def _read(path: Path, options: OnNetwork) -> Reading:
    try:
        with path.open("rb") as file:
            draft = decode(file.read(MAX_STREAM_FRAME + 1), Draft)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except EncodingError as error:
        raise InputError(f"{path}: not a proposal: {error}") from error
    return governing.read(options.pinned().genesis, draft)


def _facts(reading: Reading) -> dict[str, object]:
    signed = reading.draft.signed
    return {
        "network": signed.proposal.network,
        "sequence": signed.proposal.sequence,
        "changes": changes(reading.before, reading.after),
        "cancels": list(reading.cancels),
        "cautions": cautions(reading.after),
        "digest": sha256(encode(signed.proposal)),
        "endorsed_by": [Address.account(item.key) for item in signed.endorsements],
        "needed": reading.before.governance.threshold,
    }


def _text(reading: Reading) -> str:
    proposal = reading.draft.signed.proposal
    return "\n".join(
        (
            f"proposal {proposal.sequence} of network {proposal.network.hex()} changes:",
            *(f"  proposal {number} is taken back before it takes effect" for number in reading.cancels),
            *(f"  {line}" for line in changes(reading.before, reading.after)),
            *(f"  caution: {line}" for line in cautions(reading.after)),
            f"digest {sha256(encode(proposal)).hex()}",
            _endorsed(reading),
        )
    )


def _endorsed(reading: Reading) -> str:
    endorsements = reading.draft.signed.endorsements
    who = ", ".join(str(Address.account(item.key)) for item in endorsements) or _NOBODY
    return f"endorsed by {len(endorsements)} of {reading.before.governance.threshold} needed: {who}"


def _enactment(item: Enactment) -> dict[str, object]:
    return {
        "sequence": item.sequence,
        "changes": item.changes,
        "enacted": moment(item.enacted_ns),
        "effective": _effective(item.effective_ns),
        "signed_by": [Address.account(key) for key in item.signers],
    }


def _effective(time_ns: int | None) -> str | None:
    return None if time_ns is None else moment(time_ns)


def _amendments(title: str, items: tuple[Enactment, ...]) -> list[str]:
    lines = [f"{title}:"] if items else []
    for item in items:
        force = _CANCELLED if item.effective_ns is None else f"in force from {moment(item.effective_ns)}"
        when = f"enacted {moment(item.enacted_ns)}, {force}"
        lines.append(f"  {item.sequence}  {when}, signed by {', '.join(str(Address.account(k)) for k in item.signers)}")
        lines += [f"     {line}" for line in item.changes]
    return lines
