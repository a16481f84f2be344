"""Relays sealed queries to workers that dialled in, and sealed answers back. Trusted with nothing: it sees sizes.

Rests on `protocol` and below; never on `sealing`, `custody.secret`, `runtime` or `ledger`, even indirectly.
"""
