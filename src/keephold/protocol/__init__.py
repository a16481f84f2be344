"""Everything that travels or is stored under the root, as records with one canonical spelling."""
