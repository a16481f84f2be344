"""The sandbox for contracts written in Python."""
