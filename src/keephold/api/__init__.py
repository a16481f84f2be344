"""What a node answers about its ledger: records with proofs for machines, JSON for people.

The only reader of `ledger`.
"""
