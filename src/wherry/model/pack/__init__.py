"""From a trained model to a bundle: what happens on the desk alone. Nothing that serves imports this room."""

from wherry.model.pack.recipe import pack, pack_file

__all__ = ["pack", "pack_file"]
