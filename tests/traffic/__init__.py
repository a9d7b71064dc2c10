"""Traffic for tests: requests that attack, a client that counts, and judges of the answers."""
