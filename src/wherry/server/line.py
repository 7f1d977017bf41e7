"""What a connection begins with: `data_received` in C where that was compiled, and nothing where it was not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.server._quick import Line as Line
else:
    try:
        from wherry.server._quick import Line
    except ImportError:  # not compiled here, or not for this platform

        class Line: ...
