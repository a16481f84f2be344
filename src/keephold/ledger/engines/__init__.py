"""Engines order opaque bytes. They reach `chain`, never the protocol or the rules."""
