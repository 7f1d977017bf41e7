"""Kubernetes objects as plain data, a file a concern. Key order is the order in which people write them."""
