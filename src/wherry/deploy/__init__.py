"""Make it exist. All subprocesses and cluster calls of the desk half are here."""
