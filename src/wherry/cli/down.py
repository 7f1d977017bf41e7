"""`wherry down`: what deploy made, listed, and removed after a yes; what stays is named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wherry.cli import project, table
from wherry.cli.clusters import cluster_flags, connected, own_name
from wherry.cli.console import Console
from wherry.cli.failures import FAILED
from wherry.cli.verb import Verb, cluster_options, name_argument

if TYPE_CHECKING:
    from wherry.deploy.teardown import Removal


@click.command(
    cls=Verb,
    examples=["wherry down", "wherry down breast --dry-run", "wherry down --yes", "wherry down --delete-data"],
)
@name_argument
@click.option("--dry-run", is_flag=True, help="List what would go and what would stay, and remove nothing.")
@click.option("--delete-data", is_flag=True, help="Remove claims and Secrets too, with what they hold.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@cluster_options
@click.pass_obj
def down(
    console: Console,
    name: str | None,
    dry_run: bool,
    delete_data: bool,
    yes: bool,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
) -> int:
    """Remove the service NAME from the namespace; without a name, this folder's or the only one.

    Lists what goes and asks. Claims and Secrets with data stay unless --delete-data; what stays is named.
    """
    from wherry.deploy.life import down as carry_out

    wanted = project.load(console, cluster_flags(context, namespace)).project

    def confirm(removal: Removal) -> bool:
        if not yes:
            listed(console, removal)
            objects = table.count(len(goes(removal)), "object")
            return console.agreed(f"Remove {objects} of {removal.name}?", flag="--yes")
        return True

    with connected(console, wanted, kubeconfig) as cluster:
        removal = carry_out(
            cluster,
            name or own_name(wanted),
            dry_run=dry_run,
            delete_data=delete_data,
            confirm=confirm,
            tell=console.tell,
        )
    if console.as_json:
        console.document(removal)
    elif dry_run:
        console.say_all(f"would remove  {one}" for one in goes(removal))
        console.say_all(f"would stay    {one}" for one in removal.stays)
    elif removal.done:
        console.say_all(f"removed  {one}" for one in goes(removal))
        console.say_all(f"stays    {one}" for one in removal.stays)
    elif removal.objects:
        console.note("nothing was removed")
        return FAILED
    return 0


def listed(console: Console, removal: Removal) -> None:
    """What goes and what stays, before the question."""
    lines = [*(f"  goes   {one}" for one in goes(removal)), *(f"  stays  {one}" for one in removal.stays)]
    console.close()
    click.echo("\n".join([f"{removal.name} in namespace {removal.namespace}:", *lines]), err=True)


def goes(removal: Removal) -> tuple[str, ...]:
    space = (f"namespace/{removal.namespace}",) if removal.namespace_goes else ()
    return (*removal.objects, *space)
