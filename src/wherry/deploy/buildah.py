"""buildah as a builder: no daemon, and no root where the machine allows it. CONTAINERS_REGISTRIES_CONF is honoured."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from wherry.contract.events import Note, Tell, silent
from wherry.deploy.endpoints import LOOPBACK
from wherry.deploy.programs import Ran, present, run
from wherry.release.reference import Reference

ANSWER_SECONDS = 20.0
# What buildah says of a base that was not made by instructions, for all that it is a good image.
NO_HISTORY = "internal error: history lists"


class Buildah:
    """Builds into the containers storage of the user who runs it."""

    name = "buildah"

    def trouble(self) -> str:
        """Why it cannot be used; empty when it can."""
        if not present("buildah"):
            return "the buildah command is not installed"
        asked = run(["buildah", "info"], source=self.name, timeout=ANSWER_SECONDS)
        if asked.status == 0:
            return ""
        return asked.last[-1] if asked.last else "it cannot be used by this user"

    def build(self, folder: Path, reference: Reference, platform: str, tell: Tell = silent) -> Ran:
        """Build the Dockerfile of `folder` and tag it, in Docker's format: older registries take no other."""
        chosen = ["--platform", platform] if platform else []
        arguments = [
            *(*isolation(), "--format", "docker", *chosen, "--iidfile", str(folder / ".iid")),
            *("--tag", local_name(reference), str(folder)),
        ]
        ran = run(["buildah", "bud", "--layers=true", *arguments], source=self.name, tell=tell)
        if ran.status != 0 and NO_HISTORY in ran.text:
            tell(Note("the base image has no history, so that buildah must build without a layer an instruction"))
            ran = run(["buildah", "bud", "--layers=false", *arguments], source=self.name, tell=tell)
        return ran

    def push(self, reference: Reference, tell: Tell = silent) -> tuple[Ran, str]:
        """Push the tag. The digest is the one that the registry gave, empty when the push failed."""
        with tempfile.TemporaryDirectory(prefix="wherry-") as folder:
            file = Path(folder) / "digest"
            plain = ["--tls-verify=false"] if reference.host.startswith(LOOPBACK) else []
            ran = run(
                [
                    *("buildah", "push", *plain, "--digestfile", str(file)),
                    *(local_name(reference), f"docker://{reference}"),
                ],
                source=self.name,
                tell=tell,
            )
            return ran, file.read_text(encoding="utf-8").strip() if ran.status == 0 and file.exists() else ""

    def load(self, reference: Reference, tell: Tell = silent) -> Ran:
        """Hand the image to the local Docker daemon."""
        return run(
            ["buildah", "push", local_name(reference), f"docker-daemon:{reference}"], source=self.name, tell=tell
        )

    def save(self, reference: Reference, output: Path, tell: Tell = silent) -> Ran:
        """Write the image into a tar file as `docker load` reads it."""
        return run(
            ["buildah", "push", local_name(reference), f"docker-archive:{output}:{reference}"],
            source=self.name,
            tell=tell,
        )


def isolation() -> list[str]:
    """How RUN is kept apart: as BUILDAH_ISOLATION says, else by the OCI runtime for root and by chroot for others."""
    if "BUILDAH_ISOLATION" in os.environ:
        return []
    return ["--isolation", "oci" if os.geteuid() == 0 else "chroot"]


def local_name(reference: Reference) -> str:
    """The name with its registry: buildah puts localhost/ before one without."""
    return (
        str(reference)
        if reference.written.startswith(reference.host)
        else f"{reference.host}/{reference.path}:{reference.tag}"
    )
