"""What the rules run and everybody can check: commitments, envelopes, a round's transcript. No secret lives here."""
