"""A gatekeeper: keeps one share of the MasterKey, and answers those whom it verified itself. Runs no contract.

So it never reaches `runtime`; and like every holder of keys it follows the ledger, and never reaches `ledger`.
"""
