"""The same Pulumi program on real local parts: processes, emulators, adapter."""
