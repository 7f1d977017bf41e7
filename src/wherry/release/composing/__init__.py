"""Compose files: written for a service and its database, and read to become Kubernetes objects."""
