"""What ships for tests and development: insecure on purpose, and reachable from `cli.devnet` only."""
