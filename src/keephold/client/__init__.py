"""The account's side: keys, sealing, submitting, waiting for proof, opening."""
