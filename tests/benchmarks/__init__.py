"""Measurements; nothing here is asserted as a time. Each runs as a module."""
