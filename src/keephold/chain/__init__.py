"""Consensus format: headers, votes, validator sets, Merkle trees and map proofs, in CometBFT's bytes. No I/O."""
