"""Tests of the exporter on real parts: PostgreSQL, emulated AWS, OpenBao."""
