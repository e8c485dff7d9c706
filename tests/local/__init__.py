"""Tests of the local parts and of the engine that plays Snowflake."""
