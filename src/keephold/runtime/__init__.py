"""Runs contract code: the machine, the sandbox for Python, the process that serves one contract. Holds no key.

So it never reaches `sealing` or `custody`; it rests on `contract`, `crypto` and `base`.
"""
