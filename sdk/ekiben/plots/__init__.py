"""Pictures for notebooks and reports, drawn by matplotlib where it is called for."""
