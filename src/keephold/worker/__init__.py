"""Workers: contracts executed inside an enclave, from proven inboxes to sealed results. Listens on nothing.

`contract` decides, one state machine for each contract; `hosted` and `service` carry its orders out. Follows the ledger
through `follower` and `enclave`, and never reaches `ledger`.
"""
