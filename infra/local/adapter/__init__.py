"""The Pulumi program on local parts: an engine that makes resources for real."""
