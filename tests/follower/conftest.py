"""A chain with everything a frame can carry: registrations, a contract, calls, a result with receipts."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import pytest

from keephold.attestation.policy import report_data
from keephold.base.errors import KeepholdError
from keephold.chain import sparse
from keephold.crypto.entity import EntityKeys
from keephold.crypto.labels import SIGN_OPERATOR
from keephold.crypto.signing import SigningKey
from keephold.follower.follow import Follower
from keephold.follower.trust import Registrations
from keephold.follower.view import VerifiedView
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.evidence import Claim, Evidence
from keephold.protocol.state import ContractRecord, contract_path, registration_path
from keephold.protocol.transactions import Call, Deploy, PublishKey, Register, Result, SubmitResult, transaction_id
from keephold.protocol.wire import Frame, Interest
from keephold.testing.local import WORKER, LocalNetwork, named_key
from keephold.testing.vendor import Machine


@dataclass
class Scene:
    """A network whose blocks the test makes by hand."""

    net: LocalNetwork

    def __post_init__(self) -> None:
        self.alice, self.worker = named_key("alice"), SigningKey.generate()
        self.keys, self.instance = EntityKeys.generate(), hashlib.sha256(b"instance").digest()
        self.contract_keys = EntityKeys.generate()

    def is_live(self) -> bool:
        """Whether the worker's registration verifies now."""

        async def verified() -> bool:
            follower = Follower([self.net.remote()], VerifiedView(self.net.genesis))
            await follower.sync()
            try:
                await Registrations(follower).verify(self.worker.public)
            except KeepholdError:
                return False
            return True

        return asyncio.run(verified())

    def step(self, *sends) -> int:
        for sender, body in sends:
            self.net.send(sender, body)
        return self.net.node.engine.step()

    def registration(self, **changes) -> Register:
        height = self.net.node.engine.latest()
        anchor = self.net.node.engine.block(height).signed.header.hash()
        operator = named_key("operator")
        claim = Claim(
            network=self.net.network,
            role="worker",
            signing_key=self.worker.public,
            encryption_key=self.keys.encryption.public,
            operator=operator.public,
            instance=self.instance,
            anchor_height=height,
            anchor_hash=anchor,
        )
        quote = self.net.vendor.quote(WORKER, report_data(claim), Machine.named("machine"))
        fields = {
            "role": "worker",
            "operator": operator.public,
            "operator_signature": operator.sign(SIGN_OPERATOR, self.net.network, self.worker.public, b"worker"),
            "encryption_key": self.keys.encryption.public,
            "instance": self.instance,
            "anchor_height": height,
            "anchor_hash": anchor,
            "evidence": Evidence(self.net.vendor.name, quote),
        }
        return Register(**{**fields, **changes})

    def play(self) -> None:
        """Collateral, a registration, a contract, two calls and their result: one block each, then one to prove it."""
        self.step()
        self.net.bring_collateral()
        self.step()
        self.step((self.worker, self.registration()))
        code, policy = Code("python", b"class Token: ...", "Token", b"{}"), ContractPolicy()
        self.contract = contract_id(self.net.network, self.alice.public, 0, code_hash(code), policy)
        self.step((self.alice, Deploy(code, policy)))
        signing, encryption = self.contract_keys.signing.public, self.contract_keys.encryption.public
        self.step((self.worker, PublishKey(self.contract, 1, self.instance, signing, encryption)))
        raws = [self.net.send(self.alice, Call(self.contract, 1, b"sealed"))]
        self.step()
        raws.append(self.net.send(self.alice, Call(self.contract, 1, b"sealed too")))
        self.net.send(named_key("anyone"), Deploy(code, policy))
        self.calls = [transaction_id(raw) for raw in raws]
        self.result = self.step((self.worker, self._result()))
        self.top = self.step()

    def _result(self) -> SubmitResult:
        record = self.net.node.reader.record(contract_path(self.contract), ContractRecord)
        assert record is not None
        assert record.state_root == sparse.EMPTY_ROOT
        root = record.state_root
        result = Result(self.contract, 1, 1, 1, record.inbox_head, 0, root, root, (b"receipt",))
        return SubmitResult(self.instance, result)

    def interest(self) -> Interest:
        return Interest(
            paths=(contract_path(self.contract), registration_path(self.worker.public), bytes(32)),
            contracts=(self.contract,),
            receipts=(self.alice.public,),
            identities=(self.worker.public,),
        )

    def frames(self, until: int) -> list[Frame]:
        watch = self.net.node.reader.watch(self.interest())
        return [frame for height in range(1, until + 1) if (frame := watch.frame(height)) is not None]

    def view(self, until: int) -> VerifiedView:
        view = VerifiedView(self.net.genesis)
        for frame in self.frames(until):
            view.accept(frame)
        return view


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    net = LocalNetwork(tmp_path_factory.mktemp("chain"))
    net.open_node()
    made = Scene(net)
    made.play()
    yield made
    net.kill_node()
