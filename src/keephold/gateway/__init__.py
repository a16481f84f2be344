"""Relays sealed queries to workers that dialled in, and sealed answers back. Trusted with nothing: it sees sizes."""
