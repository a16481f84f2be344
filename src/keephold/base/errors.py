"""Every error keephold raises on purpose. One tree; codes are stable; nothing else leaves a public function.

KeepholdError
├── InputError                    what was given is wrong; nothing happened
│   ├── EncodingError             bytes that are not the one canonical spelling of the expected record
│   ├── ConfigurationError        a configuration file or option
│   │   └── LawInvalid            a law file that no network can be founded on
│   ├── KeystoreError             keystore missing, malformed, wrong password
│   ├── NotFound                  nothing by that name on this ledger
│   ├── NotKept                   history that this node does not keep; another one may
│   └── AbiError                  arguments that do not fit a contract's ABI
├── CryptoError                   a key, point, signature, seal or proof that does not hold
│   ├── BadKey
│   ├── BadSignature
│   ├── SealBroken
│   └── BadShare                  a dealing, partial or DLEQ proof
├── AttestationRefused            evidence that does not make an identity (field `reason`)
├── ChainRefused                  a header, commit or proof that does not follow from what is trusted
│   ├── HeaderInvalid
│   ├── NotEnoughTrust            skipping too far: bisect
│   ├── TrustExpired              the trusted header is older than the trusting period
│   └── ProofInvalid
│       └── StateUnproven         a contract's state that no verified worker's result leads to
├── LedgerRefused                 a transaction the rules refuse (field `reason`, a `Refusal`)
├── ContractError                 raised to the caller of a contract
│   ├── Rejected                  the contract's own refusal: code and detail
│   ├── ContractFailed            any other exception, trap or exhaustion inside the contract
│   └── CallUnreadable            the entry was consumed as unreadable
├── PermitRefused                 a worker does not answer under this permit (field `reason`)
├── SandboxError                  source that does not compile or load in the sandbox
├── ExecutionCrashed              an execution process died or was killed as stuck: start another, retry once
├── OutcomesMiscounted            outcomes of a batch that are not one for each call: none of them counts
├── UnavailableError              nobody answered properly; retrying may help
│   ├── NodeUnreachable
│   ├── NoLiveWorker
│   ├── DeadlineExceeded
│   ├── PortTaken
│   ├── QuoteUnavailable          the TEE gave no quote or key this time
│   └── StaleAnswer               an answer older than asked for
├── Halted                        a node that starting again would not cure (field `reason`)
└── EnclaveError                  this enclave must not go on
    ├── Superseded                a newer instance of this identity is registered
    ├── RollbackDetected          sealed disk or ledger older than what was already seen
    └── NotFresh                  no echo inside the window: mute
"""

from __future__ import annotations

from typing import ClassVar


class KeepholdError(Exception):
    """Base of all. `code` is stable and machine-readable; `exit_status` is what the CLI returns for it."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1


class InputError(KeepholdError):
    """What was given is wrong; nothing happened."""

    code = "input"
    exit_status = 2


class EncodingError(InputError):
    """Bytes that are not the one canonical spelling of the expected record."""

    code = "encoding"


class ConfigurationError(InputError):
    """A configuration file or option; the message names the key path."""

    code = "configuration"


class LawInvalid(ConfigurationError):
    """A law file that no network can be founded on: `file`, `key` in it, what was `found` there, what is `allowed`."""

    code = "law_invalid"

    def __init__(self, file: str, key: str, found: str, allowed: str) -> None:
        self.file = file
        self.key = key
        self.found = found
        self.allowed = allowed
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: found {found}; allowed: {allowed}")


class KeystoreError(InputError):
    """Keystore missing, malformed, or the password is wrong."""

    code = "keystore"
    exit_status = 3


class NotFound(InputError):
    """There is nothing by that name on this ledger."""

    code = "not_found"


class NotKept(InputError):
    """History that this node pruned or never had; `first` is the lowest height that it answers for. Others may."""

    code = "not_kept"

    def __init__(self, first: int) -> None:
        self.first = first
        self.reason = str(first)
        super().__init__(f"history before block {first} is not kept here: ask another node")


class AbiError(InputError):
    """Arguments that do not fit the method's ABI, or an unknown method."""

    code = "abi"


class CryptoError(KeepholdError):
    """A key, point, signature, seal or proof that does not hold."""

    code = "crypto"
    exit_status = 4


class BadKey(CryptoError):
    """Bytes that are not a usable key, scalar or group element."""

    code = "bad_key"


class BadSignature(CryptoError):
    """The signature is not by this key over this message."""

    code = "bad_signature"


class SealBroken(CryptoError):
    """An envelope that does not open: wrong key, wrong context, or altered bytes."""

    code = "seal_broken"


class BadShare(CryptoError):
    """A dealing, share, partial or proof that contradicts its public commitment."""

    code = "bad_share"


class AttestationRefused(KeepholdError):
    """Evidence that does not make an identity. `reason` is a stable word, e.g. `debug`, `revoked`, `measurement`."""

    code = "attestation_refused"
    exit_status = 5

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class ChainRefused(KeepholdError):
    """A header, commit or proof that does not follow from what is trusted."""

    code = "chain_refused"
    exit_status = 6


class HeaderInvalid(ChainRefused):
    """The header, its commit or its validators break a rule of the light client."""

    code = "header_invalid"


class NotEnoughTrust(ChainRefused):
    """Less than a third of the trusted next validators signed: fetch a header in between."""

    code = "not_enough_trust"


class TrustExpired(HeaderInvalid):
    """The trusted header is older than the trusting period; a newer one must be pinned by hand."""

    code = "trust_expired"


class ProofInvalid(ChainRefused):
    """A membership, absence, inclusion or chain proof that does not lead to the trusted root."""

    code = "proof_invalid"


class StateUnproven(ProofInvalid):
    """The ledger proves a contract's state that no result of verified workers leads to: it is not followed."""

    code = "state_unproven"


class LedgerRefused(KeepholdError):
    """The rules refuse a transaction. `reason` is one of `keephold.protocol.refusals.Refusal`."""

    code = "ledger_refused"
    exit_status = 7

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class ContractError(KeepholdError):
    """Raised to the caller of a contract."""

    code = "contract"
    exit_status = 8


class Rejected(ContractError):
    """The contract refused, with its own code and detail; nothing was written."""

    code = "rejected"

    def __init__(self, rejection: str, detail: str = "") -> None:
        self.rejection = rejection
        self.detail = detail
        super().__init__(f"{rejection}: {detail}" if detail else rejection)


class ContractFailed(ContractError):
    """Any other exception, trap or exhaustion inside the contract; nothing was written."""

    code = "contract_failed"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail
        super().__init__(detail or "the contract failed")


class CallUnreadable(ContractError):
    """The entry was consumed, and its receipt does not open under the call's reply key: the call itself did not open.

    Where validators all collude, the ledger consumed it without any enclave.
    """

    code = "call_unreadable"


class PermitRefused(KeepholdError):
    """A worker does not answer under this permit. `reason` is a stable word; see `keephold.worker.permits`."""

    code = "permit_refused"
    exit_status = 13

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class SandboxError(KeepholdError):
    """Contract source that does not compile or load in the sandbox; line and column count from 1, 0 when unknown."""

    code = "sandbox"
    exit_status = 9

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        self.message = message
        self.line = line
        self.column = column
        where = f"line {line}, column {column}" if column else f"line {line}"
        super().__init__(f"{where}: {message}" if line else message)


class ExecutionCrashed(KeepholdError):
    """An execution process died, was killed as stuck, or broke its protocol: start another and retry once."""

    code = "execution_crashed"
    exit_status = 9


class OutcomesMiscounted(KeepholdError):
    """Outcomes of a batch that are not one for each call: which belongs to which cannot be said, so none counts."""

    code = "outcomes_miscounted"
    exit_status = 9

    def __init__(self, asked: int, came: int) -> None:
        super().__init__(f"{came} outcomes of {asked} calls")
        self.asked = asked
        self.came = came


class UnavailableError(KeepholdError):
    """Nobody answered properly; retrying may help."""

    code = "unavailable"
    exit_status = 10


class NodeUnreachable(UnavailableError):
    """The node did not answer, or answered outside the protocol."""

    code = "node_unreachable"


class NoLiveWorker(UnavailableError):
    """No assigned worker with a live lease answers for this contract."""

    code = "no_live_worker"


class DeadlineExceeded(UnavailableError):
    """The caller's deadline passed. The call may still be executed: ask again with the same transaction."""

    code = "deadline_exceeded"


class PortTaken(UnavailableError):
    """Another program listens on the port asked for."""

    code = "port_taken"


class QuoteUnavailable(UnavailableError):
    """The machine's TEE interface gave no quote or key this time: busy, overwritten, or failed."""

    code = "quote_unavailable"


class StaleAnswer(UnavailableError):
    """An answer from a state older than the reader asked for."""

    code = "stale_answer"


class Halted(KeepholdError):
    """The node must not go on, and starting it again would not cure it.

    `reason` is a stable word: one of `programs.halts.HALTS`, `crash_loop`, or the code of the error that ended it.
    """

    code = "halted"
    exit_status = 12

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class EnclaveError(KeepholdError):
    """This enclave must not go on."""

    code = "enclave"
    exit_status = 11


class Superseded(EnclaveError):
    """A newer instance of this identity is registered; this one holds no keys any more."""

    code = "superseded"


class RollbackDetected(EnclaveError):
    """Sealed disk or ledger is older than what was already seen."""

    code = "rollback_detected"


class NotFresh(EnclaveError):
    """No own nonce was seen under a verified header inside the window: the enclave stays mute."""

    code = "not_fresh"
