"""What runs inside a gatekeeper's enclave: its part in a ceremony, its share, its partials."""
