"""Workers that are none: a quote in the real format, for what no law allows or by a vendor that no law names."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, final

from keephold.base.errors import KeepholdError
from keephold.crypto.secret import SecretBytes
from keephold.follower.view import VerifiedBlock
from keephold.protocol.state import Registration, registration_path
from keephold.testing.bench import Bench
from keephold.testing.vendor import DevelopmentVendor, SgxBuild

Kind = Literal["no hardware", "other code"]

_NAME: Final = "impostor"
_SECONDS: Final = 120.0


@final
@dataclass(frozen=True, slots=True)
class Impostor:
    """What came of an attempt to join."""

    is_registered: bool
    refused: str
    """The ledger's reason, and what it says about the quote."""

    @classmethod
    async def of(cls, bench: Bench, kind: Kind) -> Impostor:
        """Try to join as a worker; for the bench's own thread.

        Raises:
            DeadlineExceeded: the ledger decided nothing.
        """
        vendor = DevelopmentVendor(SecretBytes(hashlib.sha256(b"a vendor of one's own").digest()))
        session = bench.net.session(
            f"{_NAME}, {kind}",
            "worker",
            vendor=vendor if kind == "no hardware" else None,
            build=SgxBuild.named("code of one's own") if kind == "other code" else None,
        )
        path = registration_path(session.identity)

        def is_registered() -> bool:
            return bench.net.node.reader.record(path, Registration) is not None

        async def ignore(_: VerifiedBlock) -> None:
            return

        task = asyncio.ensure_future(session.run(ignore))
        try:
            await bench.until(
                lambda: is_registered() or session.registrar.refused is not None, "the ledger's decision", _SECONDS
            )
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError, KeepholdError):
                await task
        return cls(is_registered(), "" if session.registrar.refused is None else str(session.registrar.refused))
