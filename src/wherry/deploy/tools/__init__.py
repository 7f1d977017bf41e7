"""Clusters made and removed by the tools of their makers: pure functions from what is wanted to the commands to run."""
