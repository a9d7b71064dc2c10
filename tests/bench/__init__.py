"""Measure ekiben beside its peers: `make bench`."""
