"""Snowflake of a local stack: fakesnow, repaired, and an engine for what it lacks."""
