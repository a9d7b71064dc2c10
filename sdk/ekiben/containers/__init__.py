"""Images of bentos: lean, hardened, the same bytes for the same inputs, and run before they are done."""
