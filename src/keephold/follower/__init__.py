"""Following the chain: the light client, the verified view, streams and submission."""
