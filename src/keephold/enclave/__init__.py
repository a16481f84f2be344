"""What worker and gatekeeper share: identity, registration, lease, freshness, sealed memory, sending.

Only `worker`, `gatekeeper` and the programs above import it. It follows the ledger and never reaches `ledger`.
"""
