"""What ships for tests and development: insecure on purpose, and reachable from `cli.devnet` only.

May import everything below it; nothing that production starts can import it, so no configuration leads here.
"""
