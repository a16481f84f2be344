"""Secret sharing and the threshold PRF: mathematics only, no protocol, no randomness of its own."""
