"""Release after finality: signatures that a contract asked for, made when somebody who may have them asks.

**The simulation attack.** If a call can be run and what it yields be seen without its effects becoming permanent, then
whatever the contract guards by "first do X" leaks without X. A host runs `approve` on a copy of the state, takes the
signature, drops the result, and nobody knows that it was ever approved. So a call yields no signature: it leaves a
request in the sealed state. A signature is made only if, in order:

1. The state is one that the ledger accepted, under a header that this enclave verified (`Readable`): never a pending
   position of the pipeline, never what a dry run would write. The request is part of the result, so it is accepted
   with all that the call did, or with nothing of it. A quorum that disagrees, a stale state, a call that was refused:
   each leaves no request that could be read here.
2. The enclave is fresh and the question is for it (`queries`): it does not answer from a past it was put back into.
3. The reader is one of those whom the contract named. Everybody else is told what is told where nothing was asked for.

Signatures are deterministic, so every worker gives the same one as often as it is asked, and nothing random enters a
result. Withholding an answer delays a signature; it cannot make one.
"""

from __future__ import annotations

from typing import Final

from keephold.base.errors import EncodingError
from keephold.contract.errors import Mismatch
from keephold.contract.text import canonical, parse
from keephold.protocol.codec import decode
from keephold.protocol.messages import Reply, SigningRequest
from keephold.worker.readable import Readable

RELEASED: Final = "$released"
"""Built-in view: the signature under a topic, for those who may read it."""

_NOTHING: Final = Reply("rejected", code="not_released")


def released(readable: Readable, reader: bytes, arguments: bytes) -> Reply:
    """Return the signature under the topic that the arguments name, with key and message.

    Raises:
        EncodingError: the arguments are no list of one text.
        SealBroken: the state does not open.
    """
    topic = _topic(arguments)
    # (1) From accepted state: what a `Readable` is made of.
    kept = readable.state.asked(topic)
    if kept is None or readable.owned is None:
        return _NOTHING
    request = decode(kept, SigningRequest)
    # (3) To those it is for.
    if reader not in request.readers:
        return _NOTHING
    signature = readable.owned.sign(request.key, request.message)
    told = canonical(
        {
            "scheme": request.key.scheme,
            "label": request.key.label,
            "path": list(request.key.path),
            "public": readable.owned.public(request.key).hex(),
            "message": request.message.hex(),
            "signature": signature.hex(),
        }
    )
    return Reply("ok", told.encode())


def _topic(arguments: bytes) -> str:
    try:
        given = parse(arguments.decode())
    except (UnicodeDecodeError, Mismatch) as error:
        raise EncodingError("arguments that are no JSON") from error
    if not isinstance(given, list) or len(given) != 1 or not isinstance(given[0], str):
        raise EncodingError(f"{RELEASED} takes a topic")
    return given[0]
