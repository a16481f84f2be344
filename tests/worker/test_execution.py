"""What an inbox entry has to be before it is run: each alteration is by the caller himself, who can sign anything."""

from __future__ import annotations

import pytest
from worker_cast import CODE, CONTRACT, KEYS, NETWORK, PAD, REPLY_KEY, Caller, keys

from keephold.base.errors import BadSignature, EncodingError, LedgerRefused, SealBroken
from keephold.base.ids import ContractId, HeaderHash, Height, NetworkId
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import CallPlain
from keephold.protocol.transactions import Call, Echo, SignedTransaction, sign, transaction_id
from keephold.sealing.call import CallContext, seal_call
from keephold.worker.execution import OpenedCall, open_entry
from keephold.worker.inbox import Entry, Ordering

OTHER = ContractId(b"d" * 32)


@pytest.fixture
def alice() -> Caller:
    return Caller(b"a")


def opened(raw: bytes, under=KEYS) -> OpenedCall:
    entry = Entry(1, transaction_id(raw), raw, Ordering(Height(2), HeaderHash(b"h" * 32), 3), b"e" * 32)
    return open_entry(under, CODE, entry)


def sealed(caller: Caller, context: CallContext, plain: CallPlain = CallPlain("inc", b"[]", REPLY_KEY)) -> bytes:  # noqa: B008 - frozen
    return seal_call(KEYS.encryption.public, context, plain, PAD)


def here(caller: Caller, nonce: int = 0) -> CallContext:
    return CallContext(NETWORK, CONTRACT, 1, caller.key.public, nonce)


def test_a_call_opens(alice) -> None:
    call = opened(alice.call("inc"))
    assert (call.sender, call.nonce, call.request.method) == (alice.key.public, 0, "inc")


def test_an_entry_that_is_no_call(alice) -> None:
    with pytest.raises(EncodingError, match="not a call to this contract"):
        opened(sign(NETWORK, alice.key, 0, Echo(b"e" * 32)))


@pytest.mark.parametrize("body", [{"contract": OTHER}, {"epoch": 2}], ids=["contract", "epoch"])
def test_a_call_that_names_another(alice, body) -> None:
    names = {"contract": CONTRACT, "epoch": 1, "sealed": sealed(alice, here(alice)), **body}
    with pytest.raises(EncodingError, match="not a call to this contract"):
        opened(sign(NETWORK, alice.key, 0, Call(**names)))


def test_a_call_of_another_network(alice) -> None:
    with pytest.raises(LedgerRefused, match="wrong_network"):
        opened(sign(NetworkId(b"m" * 32), alice.key, 0, Call(CONTRACT, 1, sealed(alice, here(alice)))))


def test_a_call_in_somebody_elses_name(alice) -> None:
    honest = decode(alice.call("inc"), SignedTransaction)
    stolen = decode(Caller(b"e").call("inc"), SignedTransaction)
    with pytest.raises(BadSignature):
        opened(encode(SignedTransaction(honest.transaction, stolen.signature)))


@pytest.mark.parametrize(
    "change",
    [{"network": NetworkId(b"m" * 32)}, {"contract": OTHER}, {"epoch": 2}, {"nonce": 7}],
    ids=["network", "contract", "epoch", "nonce"],
)
def test_a_ciphertext_sealed_for_elsewhere(alice, change) -> None:
    context = here(alice)._replace(**change)
    with pytest.raises(SealBroken):
        opened(alice.signed(sealed(alice, context), 0))


def test_a_ciphertext_resubmitted_by_another(alice) -> None:
    with pytest.raises(SealBroken):
        opened(Caller(b"e").signed(sealed(alice, here(alice)), 0))


def test_a_call_under_another_epochs_keys(alice) -> None:
    with pytest.raises(EncodingError):
        opened(alice.call("inc"), keys(epoch=2))


def test_arguments_that_are_no_text(alice) -> None:
    with pytest.raises(EncodingError, match="no text"):
        opened(alice.signed(sealed(alice, here(alice), CallPlain("inc", b"\xff", REPLY_KEY)), 0))
