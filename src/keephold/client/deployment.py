"""Putting a contract on the ledger: deploy, wait for its key, set it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from keephold.base.errors import DeadlineExceeded, SandboxError
from keephold.base.ids import ContractId
from keephold.client.abi import parse_abi
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.contract import AsyncContract
from keephold.client.outbox import Flight
from keephold.client.patience import within
from keephold.protocol.codec import decode
from keephold.protocol.contracts import Code, ContractPolicy, check_deployable, code_hash, contract_id
from keephold.protocol.state import ContractRecord, contract_path
from keephold.protocol.transactions import Deploy

DEADLINE_SECONDS: Final = 60.0

PROGRESS: Final = {
    "ordering": "waiting for the ledger to order the deployment",
    "waiting": "waiting for a live worker",
    "keying": "waiting for the gatekeepers' partials and the worker's key",
    "suspended": "waiting: workers published differing keys",
    "active": "the contract has its key",
    "rotating": "waiting for the contract's next key: a worker was excluded",
    "init": "waiting for the init call's receipt",
}
"""Each stage of a deployment, for people."""

Progress = Callable[[str], None]


async def deploy(
    connection: Connection,
    code: Code,
    account: Account,
    arguments: Sequence[object] = (),
    named: Mapping[str, object] | None = None,
    *,
    policy: ContractPolicy | None = None,
    deadline: float = DEADLINE_SECONDS,
    progress: Progress | None = None,
) -> AsyncContract:
    """Deploy `code`, wait until its key is active and verified, make the init call, and return the contract.

    `progress` is called with each stage of `PROGRESS` as it begins.

    Raises:
        AbiError: the arguments do not fit the init method; nothing was sent.
        SandboxError: the workers' sandbox refuses the code.
        DeadlineExceeded: not active after `deadline` seconds; the deployment stays on the ledger.
        LedgerRefused, ContractError, ChainRefused, NodeUnreachable
    """
    tell = progress or (lambda _: None)
    policy = policy or ContractPolicy()
    check_deployable(code, policy)
    init = parse_abi(code.abi).init
    if init is not None:
        init.encode(arguments, named)
    stage = "ordering"
    ends = asyncio.get_running_loop().time() + deadline
    try:
        async with within(ends):
            flight = await connection.transact(account, Deploy(code, policy))
            contract = contract_id(connection.network, account.key.public, flight.nonce, code_hash(code), policy)
            tell(stage)
            async with aclosing(_stages(connection, contract, flight)) as stages:
                async for stage in stages:
                    tell(stage)
            handle = AsyncContract(connection, contract)
            await handle.verified()
            if init is not None:
                stage = "init"
                tell(stage)
                pending = await handle.submit(init.name, *arguments, account=account, **(named or {}))
                await pending.wait(deadline)
            return handle
    except TimeoutError:
        raise DeadlineExceeded(f"{PROGRESS[stage]}: not done within {deadline:g} s") from None


async def _stages(connection: Connection, contract: ContractId, flight: Flight) -> AsyncGenerator[str, None]:
    """Yield the contract's phases until it is active."""
    async with aclosing(connection.values(contract_path(contract), unless=flight)) as values:
        async for raw in values:
            if raw is None:
                continue
            record = decode(raw, ContractRecord)
            connection.submissions.settle(flight)  # the record is proven, so the deployment was accepted
            if record.phase == "refused":
                raise SandboxError(record.refusal)
            yield record.phase
            if record.phase == "active":
                return
