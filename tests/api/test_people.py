"""REST for people: JSON that its own OpenAPI document describes, problem+json for refusals, resumable events."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import httpx2
import pytest

from keephold.api.machine import MachineApi
from keephold.api.people import PeopleApi
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.programs import web
from keephold.protocol.codec import decode, encode
from keephold.protocol.offences import Dissent, Dissents
from keephold.protocol.transactions import RevokePermits, sign, transaction_id
from keephold.protocol.wire import Fault, Submission

ALICE = SigningKey(SecretBytes(b"a" * 32))


@pytest.fixture
def get(node):
    reader, engine, network = node
    engine.submit([sign(network, ALICE, 0, RevokePermits())])
    engine.step()
    engine.step()
    machine = MachineApi(reader, engine)
    routes = web.machine_routes(machine.endpoints, machine.streams) + web.people_routes(PeopleApi(reader, engine))

    def ask(path, method="GET", content=None):
        async def scenario():
            transport = httpx2.ASGITransport(web.application(routes))
            async with httpx2.AsyncClient(transport=transport, base_url="http://node") as client:
                return await client.request(method, path, content=content)

        return asyncio.run(scenario())

    return ask


def test_every_documented_endpoint_answers(get, node):
    document = get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    alice = str(Address.account(ALICE.public))
    raw = node[1].transactions(1)[0]
    filled = {"address": alice, "height": "1", "id": transaction_id(raw).hex()}
    for path in document["paths"]:
        if path == "/v1/contracts/{address}":
            continue
        answer = get(path.format(**filled))
        assert answer.status_code == 200, path
    assert get(f"/v1/accounts/{alice}").json()["nonce"] == 1
    block = get("/v1/blocks/1").json()
    assert block["transactions"][0]["kind"] == "revoke-permits"
    assert get("/v1/status").json()["simulated"] is True


def test_votes_that_were_outvoted_are_listed(node):
    reader, engine, _ = node
    ids = [bytes([n]) * 32 for n in range(1, 5)]
    named = Dissent(ids[0], "result", 6, ids[1], ids[2], ids[3], 9)
    people = PeopleApi(reader, engine)
    people._people = SimpleNamespace(dissents=lambda worker: {ALICE.public: Dissents(1, (named,))}[worker])
    (endpoint,) = [item for item in people.endpoints if item.path == "/v1/dissents/{address}"]
    (view,) = endpoint.answer({"address": str(Address.account(ALICE.public))})
    assert (view.contract, view.kind, view.version) == (str(Address.contract(ids[0])), "result", 6)
    assert (view.vote, view.registration, view.accepted, view.height) == (*(item.hex() for item in ids[1:]), 9)


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/v1/blocks/99", 404, "not_found"),
        ("/v1/blocks/-1", 400, "input"),
        ("/v1/accounts/kh1nonsense", 400, "input"),
        ("/v1/contracts/" + str(Address.account(ALICE.public)), 400, "input"),
        ("/v1/contracts/" + str(Address.contract(bytes(32))), 404, "not_found"),
        ("/v1/transactions/xyz", 400, "input"),
        ("/v1/transactions/" + "00" * 32, 404, "not_found"),
        ("/v1/contracts?offset=x", 400, "input"),
    ],
)
def test_refusals_are_problem_json(get, path, status, title):
    answer = get(path)
    assert (answer.status_code, answer.json()["title"]) == (status, title)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_refused_machine_request_is_a_fault_record(get):
    answer = get("/v1/m/submit", "POST", b"not cbor")
    assert answer.status_code == 400
    assert decode(answer.content, Fault).code == "encoding"
    assert get("/v1/m/submit", "POST", encode(Submission(()))).status_code == 200
    assert get("/v1/m/nothing", "POST", b"").status_code == 404


def test_events_resume_after_the_last_one_seen(node):
    reader, engine, network = node
    people = PeopleApi(reader, engine)

    async def scenario():
        for nonce in range(3):
            engine.submit([sign(network, ALICE, nonce, RevokePermits())])
            engine.step()
        events = people.events(1)
        heights = [(await anext(events))[0], (await anext(events))[0]]
        await events.aclose()
        return heights

    assert asyncio.run(scenario()) == [2, 3]


def test_the_document_names_no_field_that_answers_lack(get):
    document = get("/openapi.json").json()
    schema = document["components"]["schemas"]["StatusView"]
    assert set(schema["properties"]) == set(get("/v1/status").json())
    json.dumps(document)
