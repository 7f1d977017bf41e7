"""Runs in the container; every millisecond here is the user's. Imports the model room, never the desk half."""
