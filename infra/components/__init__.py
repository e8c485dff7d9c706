"""Pulumi component resources, one per concern."""
