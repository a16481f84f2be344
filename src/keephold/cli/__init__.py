"""The command line. Commands are imported when they run, so that help is quick.

The top row: it may import everything, except that `testing` is reached from `cli.devnet` only.
"""
