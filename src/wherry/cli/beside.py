"""How a new version takes the place of the one that serves: the flags of `wherry deploy`, and what each comes to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from wherry.contract.project import Project

if TYPE_CHECKING:
    from wherry.deploy.cluster import Cluster
    from wherry.deploy.deploy import Verdict
    from wherry.deploy.probe import Probe
    from wherry.deploy.trial import Trial
    from wherry.release.release import Release


class Percent(click.ParamType[float]):
    """A share as people type it: 10% or 10."""

    name = "percent"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)%?", str(value))
        if not found or not 0 < float(found[1]) < 100:
            self.fail(f"{value} is no share; write 10%, more than 0 and less than 100", param, ctx)
        return float(found[1]) / 100


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--canary, --canary-scale and --blue-green."""
    made = (
        click.option("--canary", type=Percent(), metavar="PERCENT", help="Give it this share of the requests first."),
        click.option("--canary-scale", is_flag=True, help="With --canary: add stable pods where one pod is too much."),
        click.option("--blue-green", is_flag=True, help="Bring it up whole beside the old version, then switch."),
    )
    for option in reversed(made):
        command = option(command)
    return command


class Way:
    """canary: a share; at most one of the two is asked for."""

    def __init__(self, canary: float | None, grow: bool, blue_green: bool) -> None:
        self.canary, self.grow, self.blue_green = canary, grow, blue_green

    def trial(self, wanted: Project) -> Trial | None:
        from wherry.deploy.canary import Canary

        return Canary(self.canary, wanted.deploy.canary, grow=self.grow) if self.canary is not None else None

    def foresee(self, wanted: Project, release: Release, cluster: Cluster) -> None:
        """Raises UsageRefused for what cannot be, before anything is built."""
        from wherry.deploy.trial import fit

        if self.blue_green:
            fit(release, "--blue-green")
        if (trial := self.trial(wanted)) is not None:
            fit(release, f"--{trial.tracks[0]}")
            trial.foresee(cluster, release.name)

    def deploy(self, wanted: Project, release: Release, cluster: Cluster, probe: Probe, **how: Any) -> Verdict:
        """As `wherry.deploy.deploy.deploy`, in this way."""
        from wherry.deploy.deploy import deploy

        return deploy(release, cluster, probe, trial=self.trial(wanted), blue_green=self.blue_green, **how)


def way(canary: float | None, grow: bool, blue_green: bool) -> Way:
    """Raises UsageError where more than one is asked for."""
    if canary is not None and blue_green:
        raise click.UsageError("--canary and --blue-green: choose one")
    if grow and canary is None:
        raise click.UsageError("--canary-scale goes with --canary")
    return Way(canary, grow, blue_green)
