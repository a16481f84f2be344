"""Every bound in one place. Sizes in bytes, durations in the unit their name says."""

from __future__ import annotations

from typing import Final

MAX_TRANSACTION: Final = 1 << 20
"""Signed transaction."""

MAX_CODE: Final = 256 << 10
"""Contract source."""

MAX_CALL_PLAINTEXT: Final = 128 << 10
"""Method, arguments and reply key of one call, before padding."""

MAX_RECEIPT: Final = 64 << 10
"""Sealed receipt of one call."""

MAX_SLOT_KEY: Final = 1 << 10
"""Storage key, plaintext."""

MAX_SLOT_VALUE: Final = 64 << 10
"""Storage value, plaintext: the bytes of its JSON. The same bound holds for the JSON of an event or of a message."""

MAX_WRITES: Final = 4096
"""Slots written by one result, deletions and nonces of callers included. Of slots with values fewer fit
MAX_CALL_OUTPUT: each counts as sealed and padded."""

MAX_EVENTS: Final = 1024
"""Events in one result."""

MAX_MESSAGES: Final = 8
"""Messages that one call, or one entry of any kind, sends to other contracts."""

MESSAGE_CREDIT: Final = 64
"""Inbox entries, in all contracts together, that may follow from one account's call: see `protocol.channel.share`."""

MAX_EFFECTS: Final = 512 << 10
"""Storage, events and messages of one call together, so that a result of one call fits a transaction."""

MAX_RESULT: Final = 48 << 10
"""JSON of what one call or query returns, so that its receipt fits MAX_RECEIPT."""

MAX_BLOCK_BYTES: Final = 4 << 20
"""Transactions of one block."""

MAX_BLOCK_TRANSACTIONS: Final = 1000
"""Transactions of one block."""

ACCOUNT_QUOTA_PER_BLOCK: Final = 64
"""Transactions of one sender in one block."""

MAX_INTEGER: Final = 1 << 128
"""Integers on the wire lie strictly between -MAX_INTEGER and MAX_INTEGER."""

MAX_DEPTH: Final = 16
"""Nesting of a wire record."""

MAX_STREAM_FRAME: Final = 8 << 20
"""One frame of the block stream."""

MAX_INTEREST: Final = 4096
"""Paths, contracts or accounts one stream reader may ask for."""

MAX_SEATS: Final = 64
"""Gatekeepers in a committee."""

MAX_OFFENCES: Final = 64
"""Offences of validators that are kept by name; older ones only count."""

MAX_DISSENTS: Final = 16
"""Dissents of one worker that are kept by name; older ones only count."""

MAX_HISTORY: Final = 64
"""Entries in one record of a list that only grows (holders of a key epoch, tenures of a worker); the oldest so many lie
in page 0, the next in page 1."""

MAX_COMMITTEE_ROUNDS: Final = 16
"""Restarts of one key generation."""

CALL_FUEL: Final = 2_000_000_000
"""wasmtime fuel of one transaction; about 0.3 s of Python in the sandbox."""

QUERY_FUEL: Final = 2_000_000_000
"""wasmtime fuel of one query."""

SANDBOX_MEMORY: Final = 64 << 20
"""Linear memory of one Python instance."""

MAX_STRETCH_MEMORY_KIB: Final = 1 << 20
"""Argon2id memory a keystore file may ask for, in KiB: 1 GiB."""

MAX_STRETCH_ITERATIONS: Final = 16
"""Argon2id passes a keystore file may ask for."""

MAX_STRETCH_LANES: Final = 16
"""Argon2id lanes a keystore file may ask for."""

MAX_QUOTE: Final = 16 << 10
"""Attestation quote, certificates included; real ones take 5 KiB."""

MAX_COLLATERAL_PART: Final = 64 << 10
"""One certificate chain, revocation list or signed JSON of the collateral."""

MAX_RUNTIME_EVENTS: Final = 64
"""Events in the log behind RTMR3."""

MAX_BATCH: Final = 512
"""Calls that one block appends to one contract's inbox, half a block's; entries of a batch; and entries that one result
consumes."""

MAX_CALL_OUTPUT: Final = 256 << 10
"""Receipt, writes, events and messages of one call; above, the call fails."""

RESULT_BUDGET: Final = 640 << 10
"""A result ends before the entry that would make its receipts, writes, events and messages larger than this."""

MAX_INBOX_BACKLOG: Final = 10_000
"""Entries not yet consumed in one inbox; above, calls are refused until results catch up."""

MAX_SEALED_CALL: Final = 2 * MAX_CALL_PLAINTEXT
"""Sealed call: the largest plaintext, padded, with its envelope."""

MAX_SEALED_RECEIPT: Final = 2 * MAX_RECEIPT
"""Receipt as a result carries it, sealed and padded."""

MAX_SEALED_VALUE: Final = 2 * MAX_SLOT_VALUE
"""Slot value as a result carries it, sealed and padded."""

MAX_PERMIT_SECONDS: Final = 30 * 86_400
"""Life of a permit: whoever forgets one has given it away for a month, not for ever."""

MAX_PERMIT_ITEMS: Final = 64
"""Contracts, and scopes, that one permit names."""

MAX_KEY_ITEMS: Final = 64
"""Contract keys asked for in one request."""

MAX_SEALED_PARTIALS: Final = 64 << 10
"""One gatekeeper's sealed answer to one request."""

MAX_WAITING_CONTRACTS: Final = 4096
"""Contracts that wait for workers; above, only contracts are deployed whose workers are there."""

MAX_ROTATIONS: Final = 16
"""Key epochs that the rules end by themselves in one block; more wait for the next blocks."""

MAX_DEPARTED: Final = 32
"""Workers that left a contract within one key epoch; with the last of them the epoch ends."""

MAX_CONTRACTS_PER_WORKER: Final = 64
"""Contracts assigned to one worker; each costs it a process of some 30 MB. Further ones wait for another worker."""
