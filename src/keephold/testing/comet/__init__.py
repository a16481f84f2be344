"""CometBFT for tests: one that is played (`fake`), and clusters of the real one (`binary`, `cluster`, `frail`)."""
