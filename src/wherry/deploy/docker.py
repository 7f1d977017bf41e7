"""Docker as a builder: BuildKit where buildx is installed, the classic builder otherwise. DOCKER_HOST is honoured."""

from __future__ import annotations

import re
from pathlib import Path

from wherry.contract.events import Tell, silent
from wherry.deploy.programs import Ran, present, run
from wherry.release.reference import Reference

ANSWER_SECONDS = 20.0


class Docker:
    """Builds by the daemon that the docker command reaches."""

    name = "docker"

    def trouble(self) -> str:
        """Why it cannot be used; empty when it can."""
        if not present("docker"):
            return "the docker command is not installed"
        asked = run(["docker", "version", "--format", "{{.Server.Version}}"], source=self.name, timeout=ANSWER_SECONDS)
        if asked.status == 0:
            return ""
        return asked.last[-1] if asked.last else "its daemon does not answer"

    def build(self, folder: Path, reference: Reference, platform: str, tell: Tell = silent) -> Ran:
        """Build the Dockerfile of `folder` and tag it. The image lies in the daemon afterwards."""
        buildx = run(["docker", "buildx", "version"], source=self.name, timeout=ANSWER_SECONDS).status == 0
        # --load: a builder that runs in a container of its own keeps what it built to itself otherwise.
        verb = ["buildx", "build", "--load", "--progress", "plain"] if buildx else ["build", "--rm", "--force-rm"]
        chosen = ["--platform", platform] if platform else []
        return run(
            ["docker", *verb, *chosen, "--iidfile", str(folder / ".iid"), "--tag", str(reference), str(folder)],
            source=self.name,
            tell=tell,
            environ={"DOCKER_BUILDKIT": "1" if buildx else "0"},
        )

    def push(self, reference: Reference, tell: Tell = silent) -> tuple[Ran, str]:
        """Push the tag. The digest is the one that the registry gave, empty when the push failed."""
        ran = run(["docker", "push", str(reference)], source=self.name, tell=tell)
        found = re.findall(r"digest: (sha256:[0-9a-f]{64})", ran.text)
        return ran, found[-1] if ran.status == 0 and found else ""

    def load(self, reference: Reference, tell: Tell = silent) -> Ran:
        """Nothing to do: what Docker builds is in Docker."""
        return Ran(0, ())

    def save(self, reference: Reference, output: Path, tell: Tell = silent) -> Ran:
        """Write the image into a tar file as `docker load` reads it."""
        return run(["docker", "save", "--output", str(output), str(reference)], source=self.name, tell=tell)
