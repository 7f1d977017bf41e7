"""Which Python packages an image will hold, before it is built."""

from __future__ import annotations

from wherry.contract.events import Tell, silent
from wherry.deploy import bases, pins, wheels
from wherry.deploy.attesting import contents
from wherry.release.image import ImagePlan
from wherry.release.reference import Reference


def packages(plan: ImagePlan, platform: str, tell: Tell = silent) -> tuple[tuple[str, str, str], ...]:
    """Each package that wherry will put there and that its base brings: name, version, and `image` or `base`.

    Raises BaseMissing, RegistryFailed, BuildFailed, DiskFull, CacheUnusable.
    """
    base = bases.fetch(Reference.parse(plan.base), platform or pins.native_platform())
    brought = [one for one in contents.of_image(base, tell).every if one.kind == "pypi"]
    own = plan.wheel.rpartition("/")[2].split("-")[1]
    return (
        ("wherry", own, "image"),
        *((wheel.name, wheel.version, "image") for wheel in wheels.parse(plan.locked)),
        *((package.name, package.version, "base") for package in brought),
    )
