"""Frames as the production encoder makes them, then altered: each check of the view refuses what only it can see."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from keephold.base.errors import ChainRefused, EncodingError, HeaderInvalid, ProofInvalid
from keephold.chain.header import SignedHeader
from keephold.chain.validators import Validator, ValidatorSet, encode_validator_set
from keephold.chain.wire import decode_signed_header, encode_signed_header
from keephold.follower.view import VerifiedBlock, VerifiedView
from keephold.protocol.codec import decode, encode
from keephold.protocol.state import ContractRecord, contract_path
from keephold.protocol.wire import BlocksRequest, Frame, LightBlock, ProveRequest, TransactionsRequest
from keephold.testing.local import LocalNetwork


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def test_an_honest_frame_tells_everything_that_was_asked_for(scene) -> None:
    view = scene.view(scene.top - 1)
    block = view.accept(scene.frames(scene.top)[-1])
    assert [(receipt.receipt, receipt.call) for receipt in block.receipts] == [(b"receipt", scene.calls[0])]
    assert decode(block.values[contract_path(scene.contract)], ContractRecord).done == 1
    assert (block.height, block.after) == (scene.top, scene.top - 1)
    assert view.header(scene.top).hash() == block.header_hash


def test_absence_is_proven_as_none(scene) -> None:
    first = VerifiedView(scene.net.genesis).accept(scene.frames(1)[0])
    assert first.values[bytes(32)] is None


def at_result(scene) -> Frame:
    return scene.frames(scene.result)[-1]


def at_top(scene) -> Frame:
    return scene.frames(scene.top)[-1]


def _value(frame: Frame, **changes) -> Frame:
    chosen = next(item for item in frame.values if item.value)
    return replace(frame, values=tuple(replace(v, **changes) if v is chosen else v for v in frame.values))


def _receipt(frame: Frame, **changes) -> Frame:
    return replace(frame, receipts=(replace(frame.receipts[0], **changes),))


def _proof(frame: Frame, **changes) -> Frame:
    return _receipt(frame, proof=replace(frame.receipts[0].proof, **changes))


ALTERED = {
    "an id": (at_result, lambda f: replace(f, ids=(flip(f.ids[0]), *f.ids[1:]))),
    "an id left out": (at_result, lambda f: replace(f, ids=f.ids[:-1])),
    "ids swapped": (at_result, lambda f: replace(f, ids=tuple(reversed(f.ids)))),
    "no ids": (at_result, lambda f: replace(f, ids=())),
    "a transaction's bytes": (
        at_result,
        lambda f: replace(f, transactions=(replace(f.transactions[0], raw=flip(f.transactions[0].raw)),)),
    ),
    "a transaction's place": (
        at_result,
        lambda f: replace(f, transactions=(replace(f.transactions[0], index=f.transactions[0].index ^ 1),)),
    ),
    "a place outside": (at_result, lambda f: replace(f, transactions=(replace(f.transactions[0], index=99),))),
    "a transaction twice": (at_result, lambda f: replace(f, transactions=(f.transactions[0], f.transactions[0]))),
    "a result's code": (at_top, lambda f: replace(f, results=(replace(f.results[0], code=7), *f.results[1:]))),
    "a result's data": (at_top, lambda f: replace(f, results=(*f.results[:-1], replace(f.results[-1], data=b"x")))),
    "a result left out": (at_top, lambda f: replace(f, results=f.results[1:])),
    "no results": (at_top, lambda f: replace(f, results=())),
    "a receipt's bytes": (at_top, lambda f: _receipt(f, receipt=b"receiqt")),
    "a receipt's call": (at_top, lambda f: _receipt(f, call=flip(f.receipts[0].call))),
    "a receipt's contract": (at_top, lambda f: _receipt(f, contract=flip(f.receipts[0].contract))),
    "a receipt's entry": (at_top, lambda f: _receipt(f, entry=2)),
    "a receipt of another result": (at_top, lambda f: _receipt(f, result=0)),
    "a receipt of no result": (at_top, lambda f: _receipt(f, result=99)),
    "a receipt's leaf": (at_top, lambda f: _proof(f, index=1)),
    "a receipt's siblings": (at_top, lambda f: _proof(f, aunts=(bytes(32),))),
    "a value": (at_top, lambda f: _value(f, value=b"\xa0")),
    "a value called absent": (at_top, lambda f: _value(f, value=b"")),
    "a value's path": (at_top, lambda f: _value(f, path=bytes(32))),
    "a value's proof": (at_top, lambda f: _value(f, proof=flip(next(v for v in f.values if v.value).proof))),
    "a proof cut": (at_top, lambda f: _value(f, proof=b"")),
    "a path twice": (at_top, lambda f: replace(f, values=(f.values[0], f.values[0]))),
}


@pytest.mark.parametrize("name", ALTERED)
def test_what_is_altered_is_refused_and_leaves_no_trace(scene, name: str) -> None:
    make, alter = ALTERED[name]
    honest = make(scene)
    altered = decode(encode(alter(honest)), Frame)
    assert altered != honest
    view = scene.view(honest.height - 1)
    with pytest.raises(ProofInvalid):
        view.accept(altered)
    assert view.height == honest.height - 1
    assert isinstance(view.accept(honest), VerifiedBlock)


def test_receipts_beside_the_stream_are_proven(scene) -> None:
    honest = at_top(scene)
    view = scene.view(honest.height)
    assert view.check_receipts(honest) == honest.receipts
    assert view.check_receipts(replace(honest, results=(), receipts=())) == ()
    for alter in [alter for name, (_, alter) in ALTERED.items() if "result" in name or "receipt" in name]:
        altered = decode(encode(alter(honest)), Frame)
        with pytest.raises(ProofInvalid):
            view.check_receipts(altered)
    with pytest.raises(ProofInvalid, match="not verified"):
        scene.view(honest.height - 1).check_receipts(honest)


def _header(frame: Frame, **changes) -> Frame:
    signed = decode_signed_header(frame.signed_header)
    fields = {**{name: getattr(signed.header, name) for name in signed.header.__dataclass_fields__}, **changes}
    return replace(
        frame, signed_header=encode_signed_header(SignedHeader(type(signed.header)(**fields), signed.commit))
    )


HEADERS = {
    "its app hash": lambda f: _header(f, app_hash=bytes(32)),
    "its data hash": lambda f: _header(f, data_hash=bytes(32)),
    "its results": lambda f: _header(f, last_results_hash=bytes(32)),
    "its chain": lambda f: _header(f, chain_id="another"),
    "its height": lambda f: replace(f, height=f.height + 1),
    "its bytes": lambda f: replace(f, signed_header=f.signed_header[:-1]),
    "its signature": lambda f: replace(f, signed_header=flip(f.signed_header)),
    "its validators": lambda f: replace(
        f, validators=encode_validator_set(ValidatorSet.of([Validator(bytes(31) + b"\x01", 1)]))
    ),
    "its validators' bytes": lambda f: replace(f, validators=b"\xff"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_altered_in(scene, name: str) -> None:
    view = scene.view(scene.top - 1)
    with pytest.raises(HeaderInvalid):
        view.accept(HEADERS[name](at_top(scene)))
    view.accept(at_top(scene))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_byte_of_a_frame_altered_is_refused_or_changes_nothing(scene, data) -> None:
    honest = at_top(scene)
    raw = encode(honest)
    at = data.draw(st.integers(0, len(raw) - 1))
    bit = data.draw(st.integers(0, 7))
    altered = raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]
    view, other = scene.view(scene.top - 1), scene.view(scene.top - 1)
    try:
        block = view.accept(decode(altered, Frame))
    except (EncodingError, ChainRefused):
        return
    assert block == other.accept(honest)


def test_heights_only_rise_and_blocks_are_never_two(scene) -> None:
    view = scene.view(scene.top)
    with pytest.raises(HeaderInvalid):
        view.accept(at_top(scene))


@pytest.fixture
def forked(scene, tmp_path):
    """The one validator's other history: the same genesis, other blocks."""
    other = LocalNetwork(tmp_path)
    other.genesis = scene.net.genesis
    other.open_node()
    for _ in range(5):
        other.node.engine.step()
    yield other.node.reader
    other.kill_node()


def test_a_fork_by_the_validator_itself_is_refused(scene, forked) -> None:
    view = scene.view(1)
    with pytest.raises(HeaderInvalid, match="does not point back"):
        view.accept(forked.frame(2, scene.interest()))


def test_no_height_has_two_headers(scene, forked) -> None:
    view = scene.view(1)
    view.vouch(forked.blocks(BlocksRequest((5,))).blocks[0])
    frames = scene.frames(5)
    for frame in frames[1:4]:
        view.accept(frame)
    with pytest.raises(HeaderInvalid, match="two headers"):
        view.accept(frames[4])


def test_validators_that_governance_did_not_sign_are_refused(scene) -> None:
    view = scene.view(scene.top - 1)
    view._sets.clear()
    with pytest.raises(HeaderInvalid, match="governance"):
        view.accept(at_top(scene))
    assert not view.is_lawful(at_top(scene).signed_header)
    view.admit([scene.net.genesis.law.validators])
    view.accept(at_top(scene))


def light(scene, height: int) -> LightBlock:
    frame = scene.frames(height)[-1]
    first = scene.frames(1)[0]
    return LightBlock(height, frame.signed_header, first.validators, first.next_validators)


def test_descending_follows_hashes_only(scene) -> None:
    view = VerifiedView(scene.net.genesis)
    view.accept(scene.frames(1)[0])
    view.advance(light(scene, scene.top))
    assert view.header(scene.top - 1) is None
    assert view.descend(light(scene, scene.top - 1)).height == scene.top - 1
    with pytest.raises(HeaderInvalid):
        view.descend(light(scene, scene.top - 3))


def test_vouching_remembers_without_moving(scene) -> None:
    view = VerifiedView(scene.net.genesis)
    view.accept(scene.frames(1)[0])
    assert view.vouch(light(scene, scene.top)) == view.header(scene.top)
    assert view.height == 1


def test_proven_values_are_exactly_those_asked_for(scene) -> None:
    view, path = scene.view(scene.top), contract_path(scene.contract)
    answer = scene.net.node.reader.prove(ProveRequest(0, (path,)))
    assert view.check_values(answer, [path])[path] is not None
    with pytest.raises(ProofInvalid):
        view.check_values(answer, [path, bytes(32)])
    with pytest.raises(ProofInvalid):
        view.check_values(replace(answer, height=scene.top - 3), [path])
    with pytest.raises(ProofInvalid):
        view.check_values(replace(answer, height=scene.top + 3), [path])


def test_a_transaction_is_found_with_its_own_result_only(scene) -> None:
    view = scene.view(scene.top)
    (found,) = scene.net.node.reader.transactions(TransactionsRequest((scene.calls[1],))).found
    assert view.check_found(found).result.code == 0
    for altered in (
        replace(found, raw=flip(found.raw)),
        replace(found, height=found.height - 1),
        replace(found, result=replace(found.result, code=3)),
        replace(found, index=found.index + 1),
        replace(found, proof=replace(found.proof, total=found.proof.total + 1)),
        replace(found, result_proof=replace(found.result_proof, aunts=())),
    ):
        with pytest.raises(ProofInvalid):
            view.check_found(altered)


def test_a_state_sealed_on_another_chain_is_no_start(scene) -> None:
    other = replace(scene.net.genesis, name="another")
    with pytest.raises(HeaderInvalid, match="another chain"):
        VerifiedView(other, scene.view(scene.top).trusted)
    assert VerifiedView(scene.net.genesis, scene.view(scene.top).trusted).height == scene.top
