"""keephold: confidential contracts in Python.

Importing `keephold` gives a contract author's vocabulary and nothing else; it costs the standard library only.
"""
