"""The commands that start simulated enclaves: the only ones that may import `keephold.testing`."""
