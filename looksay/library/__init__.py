"""Photos, pages and the catalogue: everything about a library that needs no model."""
