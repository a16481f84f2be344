"""Workers: contracts executed inside an enclave, from proven inboxes to sealed results. Listens on nothing."""
