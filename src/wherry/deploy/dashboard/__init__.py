"""A deployed service as it is doing now, looked at again and again. Reads the cluster and changes nothing in it."""
