"""What a node answers about its ledger: records with proofs for machines, JSON for people.

The only reader of `ledger` outside the node's own assembly. It holds no key and runs no code, so it reaches neither
`sealing`, `custody.secret`, `runtime` nor `enclave`, even indirectly.
"""
