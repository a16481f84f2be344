"""The REST endpoints for people and their tools: one table, from which routes and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import msgspec

from keephold.api import views
from keephold.base.errors import InputError, NotFound
from keephold.base.ids import ContractId, PublicKey
from keephold.contract.address import Address
from keephold.ledger.engines.base import Engine, heights
from keephold.ledger.reader import LedgerReader

PAGE: Final = 50
"""Contracts in one listing."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an endpoint."""

    name: str
    place: Literal["path", "query"]
    kind: Literal["string", "integer"]
    doc: str


@dataclass(frozen=True, slots=True)
class PeopleEndpoint:
    """One GET endpoint: what it is called, what it takes, what it yields."""

    path: str
    doc: str
    parameters: tuple[Parameter, ...]
    returns: type[Any]
    answer: Callable[[Mapping[str, str]], Any]


_ADDRESS: Final = Parameter("address", "path", "string", "bech32m text, `kh1…` or `khc1…`")


@final
class PeopleApi:
    """Answers from the newest committed state, without proofs: to look at, not to rely on."""

    def __init__(self, reader: LedgerReader, engine: Engine) -> None:
        self._people: Final = reader.people
        self._engine: Final = engine
        height = Parameter("height", "path", "integer", "block height, from 1")
        identity = Parameter("id", "path", "string", "transaction id, 64 hex digits")
        offset = Parameter("offset", "query", "integer", f"how many to pass over; pages hold {PAGE}")
        self.endpoints: Final = (
            PeopleEndpoint("/v1/status", "Where the ledger stands.", (), views.StatusView, self._status),
            PeopleEndpoint("/v1/accounts/{address}", "An account.", (_ADDRESS,), views.AccountView, self._account),
            PeopleEndpoint(
                "/v1/contracts", "Contracts, newest first.", (offset,), list[views.ContractView], self._contracts
            ),
            PeopleEndpoint("/v1/contracts/{address}", "A contract.", (_ADDRESS,), views.ContractView, self._contract),
            PeopleEndpoint("/v1/workers", "Live workers.", (), list[views.WorkerView], self._workers),
            PeopleEndpoint("/v1/gatekeepers", "Live gatekeepers.", (), list[views.WorkerView], self._gatekeepers),
            PeopleEndpoint("/v1/committee", "Who holds shares.", (), views.CommitteeView, self._committee),
            PeopleEndpoint(
                "/v1/offences", "What validators were proven to have done.", (), list[views.OffenceView], self._offences
            ),
            PeopleEndpoint(
                "/v1/dissents/{address}",
                "Votes of a worker that a quorum outvoted, the newest.",
                (_ADDRESS,),
                list[views.DissentView],
                self._dissents,
            ),
            PeopleEndpoint("/v1/blocks/{height}", "A block.", (height,), views.BlockView, self._block),
            PeopleEndpoint(
                "/v1/transactions/{id}", "Where a transaction stands.", (identity,), views.FoundView, self._transaction
            ),
        )

    async def events(self, after: int | None) -> AsyncGenerator[tuple[int, bytes], None]:
        """Yield (height, JSON of the block) for every block that carries transactions, after a height if given."""
        async with heights(self._engine) as risen:
            seen = after
            async for newest in risen:
                seen = newest if seen is None else seen
                for height in range(seen + 1, newest + 1):
                    block = self._people.block(height)
                    if block is not None and block.transactions:
                        yield height, msgspec.json.encode(views.block_view(block))
                seen = max(seen, newest)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document of these endpoints."""
        kinds = [endpoint.returns for endpoint in self.endpoints]
        schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
        problem = {
            "description": "Refused.",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        paths = {
            endpoint.path: {
                "get": {
                    "summary": endpoint.doc,
                    "parameters": [
                        {
                            "name": parameter.name,
                            "in": parameter.place,
                            "required": parameter.place == "path",
                            "description": parameter.doc,
                            "schema": {"type": parameter.kind},
                        }
                        for parameter in endpoint.parameters
                    ],
                    "responses": {
                        "200": {"description": "Found.", "content": {"application/json": {"schema": schema}}},
                        "default": problem,
                    },
                }
            }
            for endpoint, schema in zip(self.endpoints, schemas, strict=True)
        }
        fields = {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}}
        components["Problem"] = {"type": "object", "properties": fields, "required": ["title", "status"]}
        return {
            "openapi": "3.1.0",
            "info": {"title": "keephold node", "version": "1"},
            "paths": paths,
            "components": {"schemas": components},
        }

    # --- the answers ---

    def _status(self, _: Mapping[str, str]) -> views.StatusView:
        return views.status_view(self._people.status())

    def _account(self, given: Mapping[str, str]) -> views.AccountView:
        key = PublicKey(_address(given["address"], contract=False))
        return views.account_view(key, self._people.account(key))

    def _contracts(self, given: Mapping[str, str]) -> list[views.ContractView]:
        offset = _number(given.get("offset", "0"), "offset")
        return [views.contract_view(*item) for item in self._people.contracts(limit=PAGE, offset=offset)]

    def _contract(self, given: Mapping[str, str]) -> views.ContractView:
        contract = ContractId(_address(given["address"], contract=True))
        record = self._people.contract(contract)
        if record is None:
            raise NotFound(f"no contract {given['address']}")
        return views.contract_view(contract, record)

    def _workers(self, _: Mapping[str, str]) -> list[views.WorkerView]:
        return [views.worker_view(worker) for worker in self._people.workers("worker")]

    def _gatekeepers(self, _: Mapping[str, str]) -> list[views.WorkerView]:
        return [views.worker_view(worker) for worker in self._people.workers("gatekeeper")]

    def _committee(self, _: Mapping[str, str]) -> views.CommitteeView:
        return views.committee_view(self._people.committee())

    def _offences(self, _: Mapping[str, str]) -> list[views.OffenceView]:
        return [views.offence_view(item) for item in self._people.offences().newest]

    def _dissents(self, given: Mapping[str, str]) -> list[views.DissentView]:
        worker = PublicKey(_address(given["address"], contract=False))
        return [views.dissent_view(item) for item in self._people.dissents(worker).newest]

    def _block(self, given: Mapping[str, str]) -> views.BlockView:
        block = self._people.block(_number(given["height"], "height"))
        if block is None:
            raise NotFound(f"no block {given['height']}")
        return views.block_view(block)

    def _transaction(self, given: Mapping[str, str]) -> views.FoundView:
        row = self._people.transaction(_digest(given["id"]))
        if row is None:
            first = self._people.first()
            older = f"; of blocks before {first} not all are kept here" if first > 1 else ""
            raise NotFound(f"no transaction {given['id']}{older}")
        return views.found_view(row)


def _address(text: str, *, contract: bool) -> bytes:
    try:
        address = Address.parse(text)
    except ValueError as error:
        raise InputError(f"not an address: {error}") from error
    if (address.kind == "contract") != contract:
        raise InputError("a contract's address starts with khc1, an account's with kh1")
    return bytes(address)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InputError(f"{name} is a number")
    return int(text)


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InputError("a transaction id has 64 hex digits")
    return digest
