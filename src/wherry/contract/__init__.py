"""What both halves agree on. Values only: no files, no sockets, no clocks."""
