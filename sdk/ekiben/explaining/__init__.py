"""Explanations within a time: what is slow runs in a process of its own, stops in time, or is fetched later by a ticket."""
