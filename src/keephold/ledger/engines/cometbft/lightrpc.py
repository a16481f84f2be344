"""The little of CometBFT's JSON-RPC that its state sync asks of other nodes, answered by ourselves, on a unix socket.

CometBFT's state sync has a light client of its own, which wants the RPC of two nodes. Nobody's need be open for it:
what it would ask there, we ask the named nodes' API, verify it from the genesis on, and tell it in CometBFT's spelling.
So CometBFT checks again what was checked, and a node that joins needs nothing of others but what any client needs.

One thing cannot be verified: whose turn it is to propose (`proposer_priority`), which no header commits to. All nodes
that are named have to agree on it. A lie would have this node wait for the wrong proposer; it breaks no rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol, final

from keephold.base.errors import KeepholdError, UnavailableError
from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.home import genesis
from keephold.ledger.engines.cometbft.jsonserver import JsonServer
from keephold.ledger.engines.cometbft.spelling import signed_header, validators
from keephold.ledger.engines.statesync import Origin

_INTERNAL: Final = -32603
_MAX_BODY: Final = 1 << 20


class LightSource(Origin, Protocol):
    """Verified blocks, and what goes with them."""

    def newest(self) -> StoredBlock:
        """Return the newest block; raises as `block`."""
        ...

    def priorities(self, height: int) -> tuple[int, ...]:
        """Return the proposer priorities of a block's validators, in their order; raises as `block`."""
        ...


@final
class LightRpc:
    """Answers on a unix socket between `start` and `stop`."""

    def __init__(self, path: Path, founding: Founding, source: LightSource) -> None:
        """Answer about one network.

        Raises:
            ConfigurationError: the path is too long.
        """
        self._parameters: Final = genesis(founding)["consensus_params"]
        self._source: Final = source
        self._server: Final = JsonServer(path, self.answer, _MAX_BODY)

    def start(self) -> None:
        """Listen."""
        self._server.start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.stop()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the response to one request."""
        response = {"jsonrpc": "2.0", "id": request.get("id")}
        try:
            return {**response, "result": self._result(str(request.get("method")), request.get("params") or {})}
        except UnavailableError as error:
            # As CometBFT says it of a block that is not there yet: its light client asks again.
            said = f"height {request.get('params')} must be less than or equal to the current one: {error}"
        except (KeepholdError, ValueError, TypeError) as error:
            said = str(error)
        return {**response, "error": {"code": _INTERNAL, "message": "Internal error", "data": said}}

    def _result(self, method: str, parameters: dict[str, Any]) -> object:
        height = int(parameters.get("height") or 0)
        block = self._source.block(height) if height else self._source.newest()
        height = block.signed.header.height
        match method:
            case "commit":
                return {"signed_header": signed_header(block.signed), "canonical": True}
            case "validators":
                page, size = int(parameters.get("page") or 1), int(parameters.get("per_page") or 30)
                return validators(height, block.validators, self._source.priorities(height), page, size)
            case "consensus_params":
                return {"block_height": str(height), "consensus_params": self._parameters}
            case _:
                raise ValueError(f"{method} is not answered here")
