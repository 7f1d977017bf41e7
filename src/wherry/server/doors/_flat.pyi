class Reader:
    """Reads records that have these names and no other: see _flat.c, which is compiled where there is a compiler."""

    def __new__(cls, names: tuple[str, ...], whole: tuple[bool, ...]) -> Reader:
        """whole: which of them hold integers alone. Raises ValueError for none, too many, one twice or with escapes."""
    def read(self, body: bytes) -> bytes | None:
        """The cells of the record in `body`, in the order of `names`, as float64; None: not flawless."""
