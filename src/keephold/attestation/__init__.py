"""Evidence becomes a verified identity here, or is refused; the only package that knows quotes."""
