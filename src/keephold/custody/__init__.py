"""Custody of the MasterKey: nobody has it, a committee can use it, a part of the committee can hand it on.

`public` is what everybody can check and the ledger's rules run; `secret` is what a gatekeeper's enclave holds, and the
ledger never reaches. Pure, no randomness of its own; rests on `protocol`, `crypto` and `base`.
"""
