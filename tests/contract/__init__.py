"""Tests of what deployer and exporter agree on; no I/O but config files."""
