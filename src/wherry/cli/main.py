"""The `wherry` command: finds a verb by table, imports it when it is called, and turns errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Entry(NamedTuple):
    """Where a verb lives and what the list of verbs says about it."""

    section: str
    target: str
    help: str


VERBS: dict[str, Entry] = {
    "pack": Entry("Model", "wherry.cli.pack:pack", "Turn a trained model into a bundle"),
    "inspect": Entry("Model", "wherry.cli.inspect:inspect", "Say what a bundle or model file is, running none of it"),
    "predict": Entry("Model", "wherry.cli.predict:predict", "Ask a service or a bundle for predictions"),
    "gate": Entry("Model", "wherry.cli.gate:gate", "Say whether a bundle may take the place of what serves"),
    "serve": Entry("Service", "wherry.cli.serve:serve", "Answer predictions over HTTP"),
    "history": Entry("Service", "wherry.cli.history:history", "Show the predictions that were kept"),
    "stress": Entry("Service", "wherry.cli.stress:stress", "Put load on a service and judge how it held"),
    "advise": Entry("Service", "wherry.cli.advise:advise", "Find what one replica holds, and write the settings"),
    "forecast": Entry("Service", "wherry.cli.forecast:forecast", "Simulate the autoscaler over a trace of traffic"),
    "build": Entry("Image", "wherry.cli.build:build", "Put the bundle and its service into an image"),
    "compose": Entry("Image", "wherry.cli.compose:compose", "Write a compose file with a database of choice"),
    "render": Entry("Cluster", "wherry.cli.render:render", "Print everything that deploy would make"),
    "diff": Entry("Cluster", "wherry.cli.diff:diff", "Say what a deploy would change, field by field"),
    "deploy": Entry("Cluster", "wherry.cli.deploy:deploy", "Make the service exist, and prove that it answers"),
    "status": Entry("Cluster", "wherry.cli.status:status", "Say how deployed services are doing"),
    "prove": Entry("Cluster", "wherry.cli.prove:prove", "Show by load that the settings of a deployment hold"),
    "logs": Entry("Cluster", "wherry.cli.logs:logs", "Print what a service's pods have written"),
    "forward": Entry("Cluster", "wherry.cli.forward:forward", "Bring a service to a port of this machine"),
    "releases": Entry("Cluster", "wherry.cli.releases:releases", "List what was deployed, newest first"),
    "rollback": Entry("Cluster", "wherry.cli.rollback:rollback", "Deploy a past release again"),
    "scale": Entry("Cluster", "wherry.cli.scale:scale", "Set the number of replicas; 0 pauses"),
    "down": Entry("Cluster", "wherry.cli.down:down", "Remove what deploy made"),
    "cluster": Entry(
        "Cluster", "wherry.cli.cluster:cluster", "Make, choose and remove clusters by their makers' tools"
    ),
    "pipeline": Entry("Project", "wherry.cli.pipeline:pipeline", "Write what trains, judges and delivers a model anew"),
    "init": Entry("Project", "wherry.cli.init:init", "Start a project from a model, a service or a bodywork.yaml"),
    "example": Entry("Project", "wherry.cli.example:example", "List the examples, or copy one out"),
    "doctor": Entry("Project", "wherry.cli.doctor:doctor", "Name the mistakes of an existing project"),
    "config": Entry("Project", "wherry.cli.config:config", "Print every setting and where its value comes from"),
    "completion": Entry("Project", "wherry.cli.completion:completion", "Print the completion script of a shell"),
}


class Table(click.Group):
    """A group whose verbs stand in VERBS; listing them imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = VERBS.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.target.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=1, cutoff=0.5)
            suggestion = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"no such verb: {args[0]}{suggestion}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=verb.help) for name, verb in VERBS.items() if name.startswith(incomplete)]
        return found or click.Command.shell_complete(self, ctx, incomplete)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, VERBS))
        for section in dict.fromkeys(entry.section for entry in VERBS.values()):
            rows = [(name.ljust(width), entry.help) for name, entry in VERBS.items() if entry.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(
            "\nFrom a trained model to a running service:\n"
            "  wherry pack model.joblib --data train.csv --target diagnosis --trust\n"
            "  wherry serve\n"
            "  wherry predict http://127.0.0.1:8080 bundle/example.json\n"
            "  wherry deploy --image localhost:5000/breast\n"
            "  wherry down\n"
            "\n`wherry VERB --help` shows a verb's flags and examples.\n"
        )


def print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from wherry import __version__

        click.echo(f"wherry {__version__}")
        ctx.exit()


@click.command(
    cls=Table,
    context_settings={"help_option_names": ["-h", "--help"]},
    options_metavar="",
    subcommand_metavar="VERB ...",
    invoke_without_command=True,
)
@click.option("-q", "--quiet", is_flag=True, help="Print results only.")
@click.option("-v", "--verbose", count=True, help="Print more; twice: a traceback with every error.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on one line.")
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the version.",
)
@click.pass_context
def wherry(ctx: click.Context, quiet: bool, verbose: int, as_json: bool) -> None:
    """Carries a trained model from a notebook to a prediction service on Kubernetes."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        return
    ctx.meta["wherry.flags"] = {"quiet": quiet, "verbose": verbose, "as_json": as_json}


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out `arguments` (by default the command line's) and give the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = wherry.main(words, prog_name="wherry", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # here, and only here, an error becomes a code
        from wherry.cli.failures import settle

        return settle(error, words)
    return code if isinstance(code, int) else 0
