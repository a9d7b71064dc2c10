"""Other rows to which a model answers otherwise: what is wanted, what may change, and the search for them."""
