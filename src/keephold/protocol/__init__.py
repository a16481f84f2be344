"""Everything that travels or is stored under the root, as records with one canonical spelling.

Data and its hashes, no policy and no secret: what ledger, follower and enclaves have to spell alike. Rests on `chain`,
`crypto`, `contract` and `base`.
"""
