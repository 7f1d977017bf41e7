"""Asks a running service hard questions: open-loop load, measured from when requests were due, ending in a decision."""
