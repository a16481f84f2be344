"""Following the chain: the light client, the verified view, streams and submission.

`light_client`, `proofs` and `view` decide, without I/O or clock; `remote`, `nodes` and `follow` fetch. Rests on
`attestation`, `protocol`, `chain` and below: never on `ledger`, whose word is what it verifies.
"""
