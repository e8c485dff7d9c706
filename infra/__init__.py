"""Deployment: the Pulumi program, its local run and the command line."""
