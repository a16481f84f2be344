"""What worker and gatekeeper share: identity, registration, lease, freshness, sealed memory, sending."""
