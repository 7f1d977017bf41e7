"""A bundle on disk: written whole or not at all, and read only when every byte is the one that was packed.

What belongs to a bundle is what its manifest lists: one file more, one less, or a link in its place is refused. Files
and folders whose name begins with a dot are left aside (.gitignore, .DS_Store): nothing ever reads them.
"""

from wherry.model.bundle.gathering import gather, inner
from wherry.model.bundle.reading import golden, model_bytes, read_file, read_manifest, verify
from wherry.model.bundle.writing import beside, refuse_other_folder, write

__all__ = [
    "beside",
    "gather",
    "golden",
    "inner",
    "model_bytes",
    "read_file",
    "read_manifest",
    "refuse_other_folder",
    "verify",
    "write",
]
