"""Snapshots: the ledger after one block, as chunks that a new node restores instead of replaying history.

`survey` says which transactions the map still refers to, `content` how a snapshot is spelled, `take` makes one from a
committed state, `shelf` keeps the last few on the disk, `restore` verifies one and puts it in the ledger's place.

docs/adr/0011 argues what a snapshot holds and what a restored node does not have.
"""
