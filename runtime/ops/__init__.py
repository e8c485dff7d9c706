"""Operator commands: what people run against a deployed sync."""
