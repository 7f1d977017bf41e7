"""One file a way in: bytes to rows, outputs to bytes. Pure: no sockets, no clocks, no model."""
