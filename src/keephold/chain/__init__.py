"""Consensus format: headers, votes, validator sets, Merkle trees and map proofs, in CometBFT's bytes. No I/O.

What both an engine and a follower must read, and so the highest package that the two share. Rests on `crypto` and
`base`.
"""
