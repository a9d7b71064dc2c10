"""Hold ekiben and its peers to the same promises, under attack, load and faults: `make bench ARGS=--stress`."""
