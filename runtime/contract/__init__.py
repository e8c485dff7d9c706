"""What the deployer and the exporter must agree on, written down once.

Table specs, frozen column contracts, names, the type map, the file dialect, the
exporter's settings and every Snowflake statement. Pure functions and frozen values:
no clients, and no I/O but reading the configuration it is given.
"""
