"""wherry carries a trained model from a notebook to a prediction service on Kubernetes."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would be loaded before Ctrl-C can be quiet: see __main__
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.fetching import fetch
    from wherry.model.loaded import load
    from wherry.model.pack import pack

__version__ = "0.1.0"
__all__ = ["__version__", "fetch", "load", "pack"]

# What `import wherry` offers, and where it lives: found when asked for, so that importing wherry stays light.
_LAZY = {"fetch": "wherry.cli.fetching", "load": "wherry.model.loaded", "pack": "wherry.model.pack"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'wherry' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
