"""A worker that asks for a key and combines what the gatekeepers release to it."""

from __future__ import annotations

import asyncio

from keephold.base.errors import LedgerRefused
from keephold.base.ids import ContractId, InstanceId, PublicKey, TransactionId
from keephold.crypto.signing import SigningKey
from keephold.custody.secret.release import combine, prf_input
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.lines import ContractLine
from keephold.protocol.transactions import Deploy, KeyRelease, KeyRequest, open_signed
from keephold.sealing.release import ReleaseContext, open_partials


def deploy(net) -> ContractId:
    creator = SigningKey.generate()
    code = Code("python", b"class Token: ...", "Token", b"{}")
    net.send(creator, Deploy(code, ContractPolicy()))
    return contract_id(net.network, creator.public, 0, code_hash(code), ContractPolicy())


class Worker:
    """A worker's session that collects what gatekeepers release to it."""

    def __init__(self, session) -> None:
        self.session = session
        self.answers: dict[bytes, dict[PublicKey, KeyRelease]] = {}

    async def on_block(self, block) -> None:
        for ordered in block.transactions:
            transaction = open_signed(ordered.raw, self.session.network)
            if isinstance(transaction.body, KeyRelease):
                self.answers.setdefault(transaction.body.request, {})[PublicKey(transaction.sender)] = transaction.body

    async def ask(self, contract: ContractId) -> TransactionId:
        request = KeyRequest(self.session.instance.id, (ContractLine(contract, 1),))
        return (await self.session.sender.submit(request)).id

    def seeds(self, contract: ContractId, request: TransactionId, committee) -> list[bytes]:
        session = self.session
        partials = []
        for gatekeeper, release in self.answers[request].items():
            context = ReleaseContext(
                session.network, gatekeeper, session.identity, InstanceId(session.instance.id), request
            )
            plain = open_partials(session.instance.encryption, context, release.sealed)
            assert session.view.header(plain.height).hash() == plain.header_hash
            partials.append(plain.batch)
        return [
            item.reveal()
            for item in combine(partials, committee, [prf_input(session.network, ContractLine(contract, 1))])
        ]


async def ask_until_assigned(worker, contract):
    while True:
        try:
            return await worker.ask(contract)
        except LedgerRefused as error:
            if error.reason not in ("unknown_contract", "not_assigned"):
                raise
            await asyncio.sleep(0.05)
