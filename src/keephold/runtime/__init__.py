"""Runs contract code: the machine, the sandbox for Python, the process that serves one contract. Holds no key."""
