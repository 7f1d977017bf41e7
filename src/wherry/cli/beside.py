"""How a new version takes the place of the one that serves: the flags of `wherry deploy`, and what each comes to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from wherry.contract.project import Project

if TYPE_CHECKING:
    from wherry.cli.console import Console
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
    """--canary, --canary-scale, --blue-green and --shadow."""
    made = (
        click.option("--canary", type=Percent(), metavar="PERCENT", help="Give it this share of the requests first."),
        click.option("--canary-scale", is_flag=True, help="With --canary: add stable pods where one pod is too much."),
        click.option("--blue-green", is_flag=True, help="Bring it up whole beside the old version, then switch."),
        click.option("--shadow", type=Percent(), metavar="PERCENT", help="Have it answer copies of requests only."),
    )
    for option in reversed(made):
        command = option(command)
    return command


class Way:
    """canary, shadow: shares; at most one of the three is asked for."""

    def __init__(self, canary: float | None, grow: bool, blue_green: bool, shadow: float | None) -> None:
        self.canary, self.grow, self.blue_green, self.shadow = canary, grow, blue_green, shadow

    @property
    def beside(self) -> bool:
        """Whether it is another way than replacing the old version at once."""
        return self.canary is not None or self.blue_green or self.shadow is not None

    def trial(self, wanted: Project) -> Trial | None:
        """What it must stand first."""
        from wherry.deploy.canary import Canary

        return Canary(self.canary, wanted.deploy.canary, grow=self.grow) if self.canary is not None else None

    def foresee(self, wanted: Project, release: Release, cluster: Cluster) -> int:
        """How many pods it takes beside a plain deploy's. Raises UsageRefused for what cannot be, before any build."""
        from wherry.deploy import shadow
        from wherry.deploy.trial import fit

        if self.blue_green or self.shadow is not None:
            fit(release, "--blue-green" if self.blue_green else "--shadow")
        if (trial := self.trial(wanted)) is not None:
            fit(release, f"--{trial.tracks[0]}")
            return trial.foresee(cluster, release.name)
        return shadow.PODS if self.shadow is not None else 0

    def deploy(self, wanted: Project, release: Release, cluster: Cluster, probe: Probe, **how: Any) -> Verdict:
        """As `wherry.deploy.deploy.deploy`, in this way."""
        from wherry.deploy.deploy import deploy
        from wherry.deploy.shadow import deploy_shadow

        if self.shadow is not None:
            return deploy_shadow(release, cluster, probe, self.shadow, **how)
        return deploy(release, cluster, probe, trial=self.trial(wanted), blue_green=self.blue_green, **how)


def let_go(console: Console, keep: float | None, cluster: Cluster, verdict: Verdict) -> None:
    """Waits for `keep` seconds in which the version before is the way back, and then has its pods end."""
    from wherry.deploy import tracks
    from wherry.deploy.switching import put_away

    if keep is None or not verdict.ok or not tracks.narrowed(cluster, verdict.name):
        return
    console.note(f"the version before stays for {keep:g} s as the way back, until the next deploy at Ctrl-C")
    time.sleep(keep)
    if not put_away(cluster, verdict.name, verdict.release, console.tell):
        console.note(f"release {verdict.release} serves no more, so nothing was let go")


def way(canary: float | None, grow: bool, blue_green: bool, shadow: float | None) -> Way:
    """Raises UsageError where more than one is asked for."""
    asked = [
        flag
        for flag, given in (("--canary", canary), ("--blue-green", blue_green or None), ("--shadow", shadow))
        if given is not None
    ]
    if len(asked) > 1:
        raise click.UsageError(f"{' and '.join(asked)}: choose one")
    if grow and canary is None:
        raise click.UsageError("--canary-scale goes with --canary")
    return Way(canary, grow, blue_green, shadow)
