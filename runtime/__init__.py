"""Runtime of the sync: the shared contract, the exporter and operator commands."""
