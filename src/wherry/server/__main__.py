"""`python -m wherry.server`: what an image starts. The environment is its only configuration; one line a fact.

WHERRY_BUNDLE is the image's own bundle. MODEL_PATH names another, WHERRY_MODEL_DIGEST the one that it may be, and
MODEL_NAME what the model answers to.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path


def main() -> int:
    """Serve the bundle that WHERRY_BUNDLE names; the exit code of the process."""
    from wherry.contract.names import BUNDLE_DIR, ENV_BUNDLE, ENV_MODEL_DIGEST, ENV_MODEL_NAME, ENV_MODEL_PATH
    from wherry.errors import (
        SettingsRefused,
        UsageRefused,
        WherryError,
    )
    from wherry.server.environment import in_image, project_of
    from wherry.server.run import serve

    # Until the service is there to finish what is in flight. Nothing else would end the first process of a container.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    told = {name: os.environ.get(name, "") for name in (ENV_BUNDLE, ENV_MODEL_DIGEST, ENV_MODEL_NAME, ENV_MODEL_PATH)}
    bundle = Path(told[ENV_BUNDLE] or BUNDLE_DIR)
    try:
        resolved = project_of(os.environ, bundle)
        for warning in resolved.warnings:
            say(f"warning: {warning}")
        return serve(
            Path(told[ENV_MODEL_PATH] or bundle),
            resolved.project,
            tell=tell,
            desk=not in_image(bundle),
            name=told[ENV_MODEL_NAME],
            digest=told[ENV_MODEL_DIGEST],
        )
    except WherryError as error:
        say(f"error: {error}")
        if error.hint:
            say(f"hint: {error.hint}")
        return 2 if isinstance(error, (UsageRefused, SettingsRefused)) else 1


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def tell(event: object) -> None:
    """Print an event as one line."""
    from wherry.contract.events import Note, Output, Step

    if isinstance(event, Step):
        say(event.text + (f" ({event.seconds:.2f} s)" if event.seconds is not None else ""))
    elif isinstance(event, Note):
        say(("warning: " if event.warn else "") + event.text + (f" ({event.hint})" if event.hint else ""))
    elif isinstance(event, Output):
        say(event.text)


if __name__ == "__main__":
    sys.exit(main())
