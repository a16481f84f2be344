"""Every envelope but the dealing's, its seal and its open side by side.

Each module is one envelope: who seals it, to whom, and everything it is bound to. A ciphertext that opens under the
right context was made for that context; moved anywhere else it does not open.

Rests on `protocol`, `crypto` and `base`. The edges (`api`, `gateway`) and `ledger` cannot import it: they relay and
order what they could not open.
"""
