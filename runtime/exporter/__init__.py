"""The Lambda exporter: one run of one table, from lease to manifest."""
