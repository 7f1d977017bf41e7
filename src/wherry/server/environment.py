"""The project that the environment of an image declares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wherry.contract.names import ENV_TOKEN_FILE, IMAGE_BUNDLE
from wherry.contract.settings import Resolved, resolve


def in_image(bundle: Path) -> bool:
    """Whether the bundle lies where an image has it."""
    return bundle == Path(IMAGE_BUNDLE)


def project_of(environ: Mapping[str, str], bundle: Path) -> Resolved:
    """Settings from the environment alone; in an image every address is listened on unless one is named.

    Raises SettingsRefused with every problem.
    """
    defaults: dict[str, str] = {}
    if in_image(bundle):
        defaults["WHERRY_SERVE_HOST"] = "0.0.0.0"
    if environ.get(ENV_TOKEN_FILE):
        defaults["WHERRY_SERVE_TOKEN_FILE"] = environ[ENV_TOKEN_FILE]
    return resolve({}, {**defaults, **environ}, {}, source="environment")
