"""Faults at every step, by seed: no row is lost, stale, back or doubled."""
