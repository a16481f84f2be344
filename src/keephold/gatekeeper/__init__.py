"""A gatekeeper: keeps one share of the MasterKey, and answers those whom it verified itself. Runs no contract."""
