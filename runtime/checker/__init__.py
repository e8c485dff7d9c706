"""The checker: a small function that says how fresh tables are.

It goes on when nothing else does.
"""
