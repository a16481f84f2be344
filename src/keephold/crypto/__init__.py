"""The only importer of cryptography libraries. Everything above says what it means; this package knows how.

Rests on `base` alone.
"""
