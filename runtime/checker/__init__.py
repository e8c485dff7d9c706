"""The checker: a small function that says how fresh tables are, whatever stands still."""
