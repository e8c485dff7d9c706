"""Tests; the folders mirror the packages, `integration` needs local parts."""
