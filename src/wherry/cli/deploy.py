"""`wherry deploy`: image, objects, rollout, proof; the address that answers comes last."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from wherry.cli import beside, imaging, project, supply, table
from wherry.cli.ask import token_in
from wherry.cli.clusters import connected, flags_again, leaving
from wherry.cli.console import Console
from wherry.cli.failures import FAILED
from wherry.cli.verb import Verb, bundle_argument, cluster_options, image_options, token_option
from wherry.contract.manifest import Manifest
from wherry.contract.project import ModelVolume, Project
from wherry.errors import UsageRefused
from wherry.release.reference import Reference

if TYPE_CHECKING:
    from wherry.deploy.applying import Planned
    from wherry.deploy.cluster import Cluster
    from wherry.deploy.deploy import Verdict
    from wherry.deploy.probe import Probe
    from wherry.release.release import Release


class Seconds(click.ParamType[float]):
    """A time as people type it: 90, 90s, 5m."""

    name = "seconds"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|)", str(value))
        if not found or float(found[1]) == 0:
            self.fail(f"{value} is no time; write 90, 90s or 5m", param, ctx)
        return float(found[1]) * (60 if found[2] == "m" else 1)


@click.command(
    cls=Verb,
    examples=[
        "wherry deploy --image localhost:5000/breast",
        "wherry deploy --image registry.example/breast:7 --context production",
        "wherry deploy --no-build --image registry.example/breast:7",
        "wherry deploy --canary 34%",
        "wherry deploy --blue-green",
        "wherry deploy --shadow 10%",
        "wherry deploy --dry-run",
    ],
)
@bundle_argument
@image_options
@click.option("--no-build", is_flag=True, help="Run an image that is in the registry already.")
@click.option("--force", is_flag=True, help="Move a tag that names another image.")
@click.option("--timeout", type=Seconds(), metavar="TIME", help="How long the rollout may stand still, as 90s or 5m.")
@click.option(
    "--verify",
    type=click.Choice(["auto", "proxy", "job", "forward"]),
    default="auto",
    show_default=True,
    help="How to ask the new version: through the API server's proxy, by a Job in the cluster, or at each pod.",
)
@beside.options
@supply.sign_option
@supply.verify_option
@click.option("--copy-model", is_flag=True, help="Copy BUNDLE to the claim of [deploy.model]; make that if missing.")
@click.option("--allow-host-path", is_flag=True, help="Let pods read the model from a folder of a local node.")
@click.option("--dry-run", is_flag=True, help="Say what would change, as the cluster sees it, and change nothing.")
@click.option("--create-namespace", is_flag=True, help="Make a missing namespace; local clusters need no flag.")
@cluster_options
@token_option
@click.pass_obj
def deploy(
    console: Console,
    bundle: Path,
    image: str | None,
    tag: str | None,
    no_build: bool,
    force: bool,
    timeout: float | None,
    verify: Literal["auto", "proxy", "job", "forward"],
    canary: float | None,
    canary_scale: bool,
    blue_green: bool,
    shadow: float | None,
    sign: Path | None,
    verify_key: Path | None,
    copy_model: bool,
    allow_host_path: bool,
    dry_run: bool,
    create_namespace: bool,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    token_file: Path | None,
) -> int:
    """Make the service of BUNDLE (./bundle when none is named) exist in a cluster, and prove that it answers.

    Builds and pushes the image, applies the objects, watches the rollout until every old pod has ended, and asks the
    new version its golden rows through its Service. Only when they are answered as at pack is the exit code 0.

    With --canary the new version gets a share of the requests first, and goes again (exit code 4) when it is worse than
    the stable one. With --blue-green it is brought up whole and switched to at once. With --shadow it answers copies of
    requests, and its answers are compared and counted, never given.
    """
    from wherry.deploy import preflight, pulling, room
    from wherry.deploy.carrying import carry
    from wherry.deploy.deploy import rehearse
    from wherry.release.release import compose

    flags = {
        "deploy.image": image,
        "image.tag": tag,
        "deploy.context": context,
        "deploy.namespace": namespace,
        "image.sign": supply.text(sign),
        "deploy.verify_key": supply.text(verify_key),
    }
    way = beside.way(canary, canary_scale, blue_green, shadow)
    if dry_run and way.beside:
        raise click.UsageError("--dry-run shows a plain deploy: leave --canary, --blue-green or --shadow out")
    wanted = project.load(console, flags).project
    bundle, manifest = project.packed(wanted, bundle)
    reference = imaging.named(wanted, manifest, "deploy")
    there = no_build or bool(reference.digest)
    check_model(wanted.deploy.model, copy_model, allow_host_path)
    owner = supply.public_key(wanted)
    probe = probe_of(wanted, manifest, bundle, token_file)
    with connected(console, wanted, kubeconfig) as cluster:

        def release_of(named: str) -> Release:
            return compose(
                wanted,
                manifest,
                image=named,
                namespace=cluster.namespace,
                local=cluster.is_local,
                create_namespace=preflight.must_create_namespace(cluster, create_namespace),
            )

        draft = release_of(str(reference))  # what cannot be deployed is said before anything is built
        room.check(draft, cluster, console.tell, whole=blue_green, beside=way.foresee(wanted, draft, cluster))
        preflight.check_model(draft, cluster, copied=copy_model)
        for note in draft.warnings:
            console.tell(note)
        if there and owner is not None:
            reference = supply.verified(console, wanted, owner, reference)
        elif there:
            reference = pulling.found(reference, cluster, console.tell)
        if dry_run:
            draft = release_of(imaging.foreseen(wanted, manifest, reference))
            show_changes(console, rehearse(draft, cluster, console.tell))
            return 0
        if there:
            named = str(reference)
        else:
            platform = platform_of(cluster)
            made = imaging.built(
                console, wanted, manifest, bundle, reference, push=True, force=force, platform=platform
            )
            named = made.built.pinned
            if owner is not None:
                named = str(supply.verified(console, wanted, owner, Reference.parse(named)))
        release = release_of(named)
        if copy_model:
            carry(bundle, manifest, release, cluster, console.tell)
        with leaving(console, cluster, release.name, flags_again(context, namespace, kubeconfig)):
            verdict = way.deploy(wanted, release, cluster, probe, timeout=timeout, verify=verify, tell=console.tell)
        show(console, verdict, flags_again(context, namespace, kubeconfig))
        if blue_green:
            beside.let_go(console, wanted.deploy.blue_green.keep, cluster, verdict)
    return 0 if verdict.ok or verdict.outcome == "paused" else FAILED


def check_model(held: ModelVolume, copy: bool, host_path: bool) -> None:
    """Raises UsageRefused where a flag and what [deploy.model] says do not go together."""
    if copy and not held.claim:
        raise UsageRefused("--copy-model has no claim to copy to", hint='[deploy.model] claim = "models"')
    if held.host_path and not host_path:
        reason = f"[deploy.model] host_path: pods would read {held.host_path} of their node, which no standard allows"
        raise UsageRefused(reason, hint="wherry deploy --allow-host-path, on a cluster of this machine's own")


def probe_of(wanted: Project, manifest: Manifest, bundle: Path, token_file: Path | None) -> Probe:
    """The golden rows, and the token that the service will ask for."""
    from wherry.deploy.probe import Probe
    from wherry.model.bundle import golden

    own = Path(wanted.serve.token_file) if wanted.serve.token_file else None
    return Probe.of(golden(bundle, manifest), manifest, token_in(token_file or own))


def platform_of(cluster: Cluster) -> str:
    """What the nodes run: empty where that is what this machine runs, or may not be asked."""
    from wherry.deploy.pins import native_platform
    from wherry.deploy.resources import NODE
    from wherry.errors import NotPermitted

    try:
        nodes = cluster.list(NODE)
    except NotPermitted:
        return ""
    found = sorted({"{operatingSystem}/{architecture}".format(**node["status"]["nodeInfo"]) for node in nodes})
    return "" if not found or native_platform() in found else found[0]


def show_changes(console: Console, changes: tuple[Planned, ...]) -> None:
    """What would become of each object."""
    if console.as_json:
        console.document({"changes": changes})
        return
    rows = [(planned.action, planned.what, ", ".join(planned.fields)) for planned in changes]
    console.say_all(table.lines(("would", "object", "where"), rows, width=console.width))
    console.note("Nothing was changed, and no image was built.")


def show(console: Console, verdict: Verdict, flags: str = "") -> None:
    """The address, which is all of standard output, then what was seen, what comes next and how to undo it.

    flags: what the commands named need, to reach the same cluster.
    """
    if console.as_json:
        console.document(verdict)
        return
    where = verdict.address
    if where is not None:
        if where.reach != "here":
            console.note("From this machine it takes:", hint=where.hint)
        console.say(where.url)
    if verdict.ok:
        console.note(f"{verdict.name} answers, as release {verdict.release}, after {table.duration(verdict.seconds)}")
        console.note(f"Next: wherry status{flags}")
        console.note(
            f"{table.count(verdict.requests, 'request')}, {verdict.failed} failed, "
            f"worst p99 {verdict.p99_ms:g} ms; undo: {verdict.undo}{flags}"
        )
