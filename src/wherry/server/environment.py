"""The project that the environment of an image declares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wherry.contract.names import ENV_TOKEN_FILE, IMAGE_BUNDLE
from wherry.contract.settings import Resolved, resolve, with_root
from wherry.errors import SettingProblem, SettingsRefused


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
    resolved = resolve({}, {**defaults, **environ}, {}, source="environment")
    page = resolved.project.reply.root_file
    if not page:
        return resolved
    try:
        return with_root(resolved, Path(page).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problem = SettingProblem("WHERRY_REPLY_ROOT_FILE", f"names {page}, which cannot be read", "name an HTML file")
        raise SettingsRefused((problem,), "environment") from error
