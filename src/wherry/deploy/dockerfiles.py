"""Programs that build Dockerfiles, as builders: the context laid out, the program run, its end read."""

from __future__ import annotations

import errno
import shutil
import tempfile
import time
from pathlib import Path
from typing import Protocol

from wherry.contract.events import Step, Tell, silent
from wherry.deploy import engines, pins, registry
from wherry.deploy.build_failures import failed
from wherry.deploy.engines import Engine
from wherry.deploy.order import Order
from wherry.deploy.programs import Ran
from wherry.errors import BuildFailed, DiskFull, FileMissing
from wherry.release.image import ImagePlan
from wherry.release.reference import Reference


class Program(Protocol):
    """What Docker and buildah both do. What was run is returned as it ended: `make` makes the errors."""

    @property
    def name(self) -> str: ...

    def trouble(self) -> str: ...

    def build(self, folder: Path, reference: Reference, platform: str, tell: Tell = silent) -> Ran: ...

    def push(self, reference: Reference, tell: Tell = silent) -> tuple[Ran, str]: ...

    def load(self, reference: Reference, tell: Tell = silent) -> Ran: ...

    def save(self, reference: Reference, output: Path, tell: Tell = silent) -> Ran: ...


class ByDockerfile:
    """A program as a builder."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.name = program.name

    def trouble(self, order: Order) -> str:
        """Why it cannot be used; empty when it can."""
        return self.program.trouble()

    def make(self, order: Order, tell: Tell = silent) -> str:
        """Build, and bring the image where the order says. Raises BuildFailed and its kinds, DiskFull, FileMissing."""
        started = time.monotonic()
        wanted = order.reference
        with tempfile.TemporaryDirectory(prefix="wherry-build-") as name:
            folder = Path(name)
            lay_out(order.plan, order.bundle, folder)
            tell(Step(f"building {wanted} with {self.name}"))
            other = "" if order.platform == pins.native_platform() else order.platform
            self.ended(order, self.program.build(folder, wanted, other, tell))
            digest = (folder / ".iid").read_text(encoding="utf-8").strip()
        tell(Step(f"built {wanted}", time.monotonic() - started))
        if order.load:
            self.load(order, order.load, tell)
        if order.output:
            self.save(order, order.output, tell)
        return self.push(order, tell) if order.push else digest

    def load(self, order: Order, engine: Engine, tell: Tell) -> None:
        """Have the engine take the image: from the program itself where it can, else from a file that it writes."""
        if engine.kind == "docker":
            self.ended(order, self.program.load(order.reference, tell))
            return
        with tempfile.TemporaryDirectory(prefix="wherry-") as folder:
            file = Path(folder) / "image.tar"
            self.ended(order, self.program.save(order.reference, file, tell))
            engines.load(engine, file, order.reference, order.plan.base, tell)

    def save(self, order: Order, output: Path, tell: Tell) -> None:
        """Have the program write the image into a file, whole or not at all."""
        beside = output.with_name(f".{output.name}.part")
        try:
            self.ended(order, self.program.save(order.reference, beside, tell))
            beside.replace(output)
        finally:
            beside.unlink(missing_ok=True)

    def push(self, order: Order, tell: Tell) -> str:
        started = time.monotonic()
        wanted = order.reference
        tell(Step(f"pushing {wanted}"))
        ran, digest = self.program.push(wanted, tell)
        self.ended(order, ran)
        digest = digest or registry.digest(wanted) or ""
        if not digest:
            raise BuildFailed(f"{wanted} was pushed, and its registry does not know it", lines=ran.last)
        tell(Step(f"pushed {wanted}", time.monotonic() - started))
        return digest

    def ended(self, order: Order, ran: Ran) -> None:
        if ran.status != 0:
            raise failed(self.name, order.plan.base, order.reference.host, ran)


def lay_out(plan: ImagePlan, bundle: Path, folder: Path) -> None:
    """Write the build context: nothing but what the image needs, readable by any user. Raises FileMissing, DiskFull."""
    held = {"Dockerfile": plan.dockerfile.encode(), ".dockerignore": plan.dockerignore.encode(), **plan.context}
    written = []
    try:
        for path, content in held.items():
            written.append(folder / path)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        for path in plan.bundle_files:
            written.append(folder / "bundle" / path)
            (folder / "bundle" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle / path, folder / "bundle" / path)
    except FileNotFoundError as error:
        raise FileMissing(str(error.filename), "file of the bundle", "pack the model again") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(str(folder)) from error
        raise
    for made in written:
        made.chmod(0o644)
        for parent in made.relative_to(folder).parents:
            if str(parent) != ".":
                (folder / parent).chmod(0o755)
