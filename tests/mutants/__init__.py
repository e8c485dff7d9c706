"""Does a test notice when a rule of the protocol is broken? `make mutants` asks."""
