"""Rules that a model keeps to: their conditions, who is asked, and the search for them."""
