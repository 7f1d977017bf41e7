"""`wherry cluster`: clusters made, chosen, listed and removed by the tools of their makers, each command printed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from wherry.cli.console import Console
from wherry.cli.failures import FAILED
from wherry.cli.verb import Family, Verb, stacked
from wherry.errors import UsageRefused

if TYPE_CHECKING:
    from wherry.deploy.tools.plan import Plan, Tool, Wanted

KINDS = ("minikube", "kind", "docker-desktop", "gke")
DEFAULT_NAME = "wherry"
NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")

which = stacked(
    click.argument("tool", type=click.Choice(KINDS)),
    click.argument("name", default=DEFAULT_NAME, required=False),
)
where = stacked(
    click.option("--project", metavar="ID", envvar="CLOUDSDK_CORE_PROJECT", help="gke: project; as gcloud reads it."),
    click.option("--region", metavar="REGION", help="gke: region, as europe-north1."),
    click.option("--zone", metavar="ZONE", help="gke: a single zone in place of a region, as europe-north1-a."),
)
dry = click.option("--dry-run", is_flag=True, help="Print the commands and run none.")


@click.group(
    cls=Family,
    live=False,
    subcommand_metavar="create|use|list|delete|dashboard",
    examples=[
        "wherry cluster create minikube --memory 4g --cpus 2",
        "wherry cluster create gke demo --project my-project --zone us-east1-b",
        "wherry cluster use minikube --namespace models",
        "wherry cluster delete gke demo --project my-project --zone us-east1-b",
    ],
)
def cluster() -> None:
    """Make, choose, list and remove clusters with minikube, kind, Docker Desktop or GKE's own tools.

    Every command is printed as it is run. Any other cluster (EKS, AKS, one of your own) works from `use` on.
    """


@cluster.command(
    cls=Verb,
    short_help="Make a cluster",
    live=False,
    examples=[
        "wherry cluster create kind --nodes 2",
        "wherry cluster create gke demo --zone europe-north1-a --dry-run",
    ],
)
@which
@where
@click.option("--nodes", type=click.IntRange(1, 1000), metavar="N", help="How many nodes.")
@click.option("--memory", metavar="SIZE", help="minikube: memory of a node, as 4g.")
@click.option("--cpus", type=click.IntRange(1), metavar="N", help="minikube: processors of a node.")
@click.option("--driver", metavar="NAME", help="minikube: what runs it, as docker or kvm2.")
@click.option("--mount", metavar="FOLDER:PATH", help="minikube, kind: a folder of this machine on the nodes.")
@click.option("--machine-type", metavar="TYPE", help="gke: machine of a node, as e2-standard-2.")
@click.option("--autopilot", is_flag=True, help="gke: Google sizes the nodes.")
@click.option("--repository", metavar="NAME", help="gke: Artifact Registry repository for images; by default models.")
@click.option("--builder-account", "account", metavar="EMAIL", help="gke: service account that may push images to it.")
@dry
@click.pass_obj
def create(console: Console, /, tool: str, name: str, dry_run: bool, **flags: Any) -> None:
    """Make a cluster called NAME with TOOL, and what autoscalers and images need beside it."""
    maker, wanted = asked(tool, name, flags)
    plan = maker.create(wanted)
    if shown(console, plan, dry_run):
        return
    perform(console, plan)
    console.note(f"made {plan.context}", hint=f"wherry cluster use {plan.context}")


@cluster.command(
    cls=Verb,
    short_help="Write a context into wherry.toml",
    live=False,
    examples=["wherry cluster use kind-wherry --namespace models"],
)
@click.argument("context")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace to deploy into, too.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Kubeconfig to read.")
@click.pass_obj
def use(console: Console, context: str, namespace: str | None, kubeconfig: Path | None) -> None:
    """Write CONTEXT into wherry.toml, so that every verb means it; your kubeconfig is left as it is."""
    from wherry.cli import rewriting
    from wherry.deploy.contexts import choose, read, source_of

    paths = source_of(str(kubeconfig or ""))
    contexts, current = read(paths)
    choose(context, contexts, current, paths)
    path, under = rewriting.file_of()
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    changes = {"deploy.context": context} | ({"deploy.namespace": namespace} if namespace else {})
    after = rewriting.rewritten(before, under, changes)
    if after != before:
        rewriting.replace(path, after)
    if console.as_json:
        console.document({"file": str(path), **changes})
    else:
        console.say_all(f"{path}: {key} = {value}" for key, value in changes.items())


@cluster.command(
    name="list",
    cls=Verb,
    short_help="List contexts and what the tools have made",
    live=False,
    examples=["wherry cluster list"],
)
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Kubeconfig to read.")
@click.pass_obj
def list_(console: Console, kubeconfig: Path | None) -> None:
    """List the contexts of your kubeconfig, the one of this project marked, and what each tool has made."""
    from wherry.cli import project
    from wherry.deploy.contexts import is_local, read, source_of
    from wherry.deploy.tools.running import TOOLS, run

    paths = source_of(str(kubeconfig or ""))
    contexts, current = read(paths)
    chosen = project.load(console, {}).project.deploy.context or current
    found = [
        {"context": each.name, "local": is_local(each, each.server), "chosen": each.name == chosen} for each in contexts
    ]
    for each in found:
        if console.as_json:
            console.document(each)
        else:
            console.say(f"{'*' if each['chosen'] else ' '} {each['context']}{'  local' if each['local'] else ''}")
    if not console.as_json:
        from wherry.deploy.tools.plan import Wanted

        for maker in TOOLS.values():
            if maker.program and shutil.which(maker.program):
                run(msgspec.structs.replace(maker.listing(Wanted(name="")), must=False), console.tell)


@cluster.command(
    cls=Verb,
    short_help="Remove a cluster with all that it holds",
    live=False,
    examples=["wherry cluster delete kind wherry --dry-run"],
)
@which
@where
@dry
@click.option("--delete-data", is_flag=True, help="Do not ask: the cluster goes with all that its claims hold.")
@click.pass_obj
def delete(console: Console, /, tool: str, name: str, dry_run: bool, delete_data: bool, **flags: Any) -> int:
    """Remove the cluster NAME of TOOL with all that it holds: load balancers and claims first, where they cost money.

    Asks, and says what may still cost money.
    """
    maker, wanted = asked(tool, name, flags)
    plan = maker.delete(wanted)
    if shown(console, plan, dry_run):
        return 0
    if not delete_data:
        listed = "\n".join(f"  {each}" for each in plan.commands)
        click.echo(listed, err=True)
        if not console.agreed(f"Remove {plan.context} with all that it holds?", flag="--delete-data"):
            console.note("nothing was removed")
            return FAILED
    perform(console, plan)
    return 0


@cluster.command(
    cls=Verb, short_help="Show the cluster's own page", live=False, examples=["wherry cluster dashboard minikube"]
)
@which
@where
@click.pass_obj
def dashboard(console: Console, /, tool: str, name: str, **flags: Any) -> None:
    """Show the cluster's own page, where it has one; `wherry status --watch` shows a service."""
    from wherry.deploy.tools.running import run

    maker, wanted = asked(tool, name, flags)
    command = maker.dashboard(wanted)
    if command is None:
        raise UsageRefused(f"{tool} has no page of its own", hint="wherry status")
    run(command, console.tell)


def asked(tool: str, name: str, flags: dict[str, Any]) -> tuple[Tool, Wanted]:
    """The tool and what is wanted of it. Raises UsageRefused for a flag that means nothing to it."""
    from wherry.deploy.tools.plan import Wanted
    from wherry.deploy.tools.running import TOOLS

    maker = TOOLS[tool]
    if not NAME.fullmatch(name):
        hint = "letters, digits and hyphens, 40 at most, a letter first"
        raise UsageRefused(f"{name!r} is no name of a cluster", hint=hint)
    region, zone = flags.pop("region"), flags.pop("zone")
    if region and zone:
        raise UsageRefused("--region and --zone exclude one another", hint="leave one of them out")
    if "project" not in maker.takes:
        flags.pop("project")  # gcloud's own variable may well be set
    given = {key: value for key, value in flags.items() if value}
    given |= {"place": region or zone, "zonal": bool(zone)} if region or zone else {}
    for key in given:
        if key not in maker.takes:
            flag = {"place": "--zone" if zone else "--region", "account": "--builder-account"}.get(key, f"--{key}")
            raise UsageRefused(f"{flag.replace('_', '-')} means nothing to {tool}", hint="wherry cluster create --help")
    if tool == "gke" and not (given.get("project") and given.get("place")):
        missing = "--project" if not given.get("project") else "--region or --zone"
        raise UsageRefused(f"gke needs {missing}", hint="wherry cluster create gke --project ID --region europe-north1")
    return maker, Wanted(name=name, **given)


def shown(console: Console, plan: Plan, dry_run: bool) -> bool:
    """The plan printed, where only that is wanted."""
    if dry_run and console.as_json:
        console.document(plan)
    elif dry_run:
        for path, text in plan.files.items():
            console.say(f"# {path}\n{text}")
        for command in plan.commands:
            console.say(f"# {command.why}\n{command}")
        told(console, plan)
    return dry_run


def perform(console: Console, plan: Plan) -> None:
    from wherry.deploy.tools.running import carry_out

    carry_out(plan, console.tell)
    told(console, plan)


def told(console: Console, plan: Plan) -> None:
    for text in plan.notes:
        console.note(text)
