"""Docker as a builder: BuildKit where buildx is installed, the classic builder otherwise. DOCKER_HOST is honoured."""

from __future__ import annotations

import re
from pathlib import Path

from wherry.contract.events import Note, Tell, silent
from wherry.deploy import layers
from wherry.deploy.programs import Ran, present, run
from wherry.release.reference import Reference

ANSWER_SECONDS = 20.0
# What came first with rewrite-timestamp: BuildKit by itself, and Docker with the BuildKit that it has inside.
BUILDKIT = (0, 13)
DOCKER = 26


class Docker:
    """Builds by the daemon that the docker command reaches."""

    name = "docker"

    def trouble(self) -> str:
        """Why it cannot be used; empty when it can."""
        if not present("docker"):
            return "the docker command is not installed"
        asked = answer("version", "--format", "{{.Server.Version}}")
        if asked.status == 0:
            return ""
        return asked.last[-1] if asked.last else "its daemon does not answer"

    def build(self, folder: Path, reference: Reference, platform: str, tell: Tell = silent) -> Ran:
        """Build the Dockerfile of `folder` and tag it. The image lies in the daemon afterwards.

        Equal contents make equal digests where BuildKit can set every file's time; where not, that is told.
        """
        buildx = answer("buildx", "version").status == 0
        moving = moves_on(buildx)
        if moving:
            tell(Note(f"the image gets another digest at every build: {moving}", hint="--builder direct"))
        named = [*(["--platform", platform] if platform else []), "--iidfile", str(folder / ".iid")]
        if moving:
            # --load: a builder that runs in a container of its own keeps what it built to itself otherwise.
            verb = ["buildx", "build", "--load", "--progress", "plain"] if buildx else ["build", "--rm", "--force-rm"]
            given = ["docker", *verb, *named, "--tag", str(reference), str(folder)]
            return run(given, source=self.name, tell=tell, environ={"DOCKER_BUILDKIT": "1" if buildx else "0"})
        # Into a file first: an image that is laid out at once keeps the times that its files had.
        file = folder.with_name(f"{folder.name}.tar")
        output = f"type=docker,name={reference},rewrite-timestamp=true,dest={file}"
        timeless = ["--provenance=false", "--build-arg", f"{layers.ENV_EPOCH}={layers.epoch()}", "--output", output]
        try:
            ran = run(
                ["docker", "buildx", "build", "--progress", "plain", *named, *timeless, str(folder)],
                source=self.name,
                tell=tell,
            )
            return run(["docker", "load", "--input", str(file)], source=self.name) if ran.status == 0 else ran
        finally:
            file.unlink(missing_ok=True)

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


def moves_on(buildx: bool) -> str:
    """Why two builds of the same have two digests here; empty where they have one."""
    if not buildx:
        return "buildx, which sets the files' times, is not installed"
    builder = answer("buildx", "inspect").text
    if re.search(r"^Driver:\s+docker$", builder, re.MULTILINE):
        # Its BuildKit is the daemon's own, and only an image store of containerd's has the files' times set.
        told = answer("info", "--format", "{{.ServerVersion}} {{.DriverStatus}}").text
        if not told.partition(".")[0].isdigit() or int(told.partition(".")[0]) < DOCKER:
            return f"Docker {told.partition(' ')[0]} does not set the files' times, {DOCKER} and newer do"
        return "" if "io.containerd.snapshotter" in told else "Docker does so only with its containerd image store"
    found = re.search(r"^Build[Kk]it(?: version)?:\s+v(\d+)\.(\d+)\S*", builder, re.MULTILINE)
    if found and (int(found[1]), int(found[2])) >= BUILDKIT:
        return ""
    version = found[0].split()[-1] if found else "of an unknown version"
    return f"BuildKit {version} does not set the files' times, {'.'.join(map(str, BUILDKIT))} and newer do"


def answer(*arguments: str) -> Ran:
    """What docker says to a short question."""
    return run(["docker", *arguments], source="docker", timeout=ANSWER_SECONDS)
