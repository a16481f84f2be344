"""Assembly and configuration: one module per program. Decides nothing; wires what decides to what does."""
