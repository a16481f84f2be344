"""Partials: what a gatekeeper answers for a list of inputs, and how t answers become keys.

    Z_i   = share_i * H2G(x)         proven against the public share, one proof for the list
    mac_i = HMAC(N, x)               the same for every honest gatekeeper, without proof
    seed  = HKDF(Z || HMAC(N, x), x)

Secrecy against gatekeepers rests on Z: fewer than t partials say nothing about it. N keeps a recorded ledger closed
to somebody who, one day, computes discrete logarithms but never was a gatekeeper.

`HMAC(N, x)` is believed when t partials agree on it: at most t - 1 lie, so one of them is honest.

t partials *are* the keys. They leave the enclave only sealed to the worker's attested encryption key, and the caller
of `combine` uses the result only on a chain that contains t of the heads that travelled beside them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from keephold.base.errors import BadKey, BadShare
from keephold.base.ids import NetworkId
from keephold.crypto import kdf
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.labels import LINE_CHANNEL, LINE_CONTRACT, LINE_SEED, LINE_SIGNING, MASTER_PEPPER
from keephold.crypto.ristretto import Point, decode_point
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import prf
from keephold.custody.secret.share import Share
from keephold.protocol.custody import CommitteeKeys, PartialBatch
from keephold.protocol.lines import ChannelLine, ContractLine, KeyLine, SigningLine

Entropy = Callable[[int], bytes]
"""Returns that many fresh random bytes."""

_ENTROPY: Final = 64


def prf_input(network: NetworkId, line: KeyLine) -> bytes:
    """Return x, 32 bytes: what the MasterKey is asked for. Each kind of line has a label of its own."""
    match line:
        case ContractLine(contract, epoch):
            return tagged_hash(LINE_CONTRACT, network, contract, number(epoch))
        case SigningLine(contract):
            return tagged_hash(LINE_SIGNING, network, contract)
        case ChannelLine(source, source_epoch, target, target_epoch):
            ends = (source, number(source_epoch), target, number(target_epoch))
            return tagged_hash(LINE_CHANNEL, network, *ends)


def partial(share: Share, inputs: Sequence[bytes], entropy: Entropy) -> PartialBatch:
    """Return this seat's answer for 1 to 65535 inputs."""
    evaluation = prf.evaluate(share.scalar(), inputs, SecretBytes(entropy(_ENTROPY)))
    macs = tuple(kdf.mac(share.pepper(), MASTER_PEPPER, x) for x in inputs)
    return PartialBatch(share.seat, share.sharing_epoch, evaluation.points, evaluation.proof, macs)


class Examined(NamedTuple):
    """Partials after examination."""

    agreeing: tuple[PartialBatch, ...]
    """At least t, of one sharing epoch, proven, with equal macs; one a seat."""
    lying: tuple[int, ...]
    """Seats whose partial is false; the ledger's gatekeepers would like to know."""


def examine(partials: Sequence[PartialBatch], committee: CommitteeKeys, inputs: Sequence[bytes]) -> Examined:
    """Return the partials that can be combined, and the seats that lie.

    Raises:
        BadShare: fewer than t partials agree; the message names the seats that lie.
    """
    # (1) Each is of this sharing epoch and proven against its seat's public share. A second answer of a seat counts
    #     only if the first is no proof, so that nobody can crowd an honest seat out by speaking in its name first.
    proven: dict[int, PartialBatch] = {}
    refused: set[int] = set()
    for batch in partials:
        if batch.seat in proven:
            continue
        try:
            _check(batch, committee, inputs)
        except BadShare:
            refused.add(batch.seat)
        else:
            proven[batch.seat] = batch
    # (2) t of them agree on the macs: then one honest seat stands behind the value.
    by_macs: dict[tuple[bytes, ...], list[PartialBatch]] = defaultdict(list)
    for batch in proven.values():
        by_macs[batch.macs].append(batch)
    agreeing = max(by_macs.values(), key=len, default=[])
    if len(agreeing) < committee.threshold:
        named = ", ".join(map(str, sorted(refused - proven.keys()))) or "none proven false"
        raise BadShare(f"{len(agreeing)} of {committee.threshold} partials agree; seats that lie: {named}")
    lying = (refused | proven.keys()) - {batch.seat for batch in agreeing}
    return Examined(tuple(agreeing), tuple(sorted(lying)))


def combine(partials: Sequence[PartialBatch], committee: CommitteeKeys, inputs: Sequence[bytes]) -> list[SecretBytes]:
    """Return the 32-byte seed of each input, around lying seats when t honest ones answered.

    Raises:
        BadShare: as `examine`.
    """
    chosen = examine(partials, committee, inputs).agreeing[: committee.threshold]
    seeds = []
    for index, x in enumerate(inputs):
        shared = prf.combine({batch.seat: Point(batch.points[index]) for batch in chosen})
        secret = SecretBytes(shared.reveal() + chosen[0].macs[index])
        seeds.append(kdf.derive(secret, LINE_SEED, x))
    return seeds


def _check(batch: PartialBatch, committee: CommitteeKeys, inputs: Sequence[bytes]) -> None:
    seat = next((entry for entry in committee.seats if entry.seat == batch.seat), None)
    if seat is None or batch.sharing_epoch != committee.sharing_epoch:
        raise BadShare(f"seat {batch.seat} has no share of sharing epoch {batch.sharing_epoch}")
    if not len(batch.points) == len(batch.macs) == len(inputs):
        raise BadShare("one point and one mac for each input")
    try:
        evaluation = prf.Evaluation(tuple(decode_point(point) for point in batch.points), batch.proof)
        prf.verify(decode_point(seat.public_share), inputs, evaluation)
    except BadKey as error:
        raise BadShare("a partial that is no group element") from error
