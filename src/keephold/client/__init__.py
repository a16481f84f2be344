"""The account's side: keys, sealing, submitting, waiting for proof, opening.

Believes no node: what it knows of a ledger comes through `follower`. So it never reaches `ledger`, and as it runs no
contract and holds no share, neither `runtime`, `custody.secret` nor `enclave`.
"""
