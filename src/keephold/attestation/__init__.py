"""Evidence becomes a verified identity here, or is refused; the only package that knows quotes.

Deterministic: time is the block's, collateral comes from the ledger; only `platforms` speak to hardware. Rests on
`protocol` and below; the only importer of `dcap_qvl`.
"""
