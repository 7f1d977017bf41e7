"""What verbs share: the flags that every verb takes, the flags that several take, examples under the help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from wherry.cli.console import Console
from wherry.contract.names import BUNDLE_DIR, ENV_TOKEN_FILE
from wherry.errors import UsageRefused

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
FLAGS = "wherry.flags"
LONE = "yes"  # the value of a flag that was given without one


class Verb(click.Command):
    """A verb of wherry: takes -q, -v and --json, shows its examples, and gets its Console as ctx.obj."""

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        live: bool = True,
        lone: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        kwargs["params"] = [*(kwargs.get("params") or []), *every_verb()]
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.live = live
        self.lone = tuple(lone)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A flag whose value is optional must not swallow the argument that follows it.
        return super().parse_args(ctx, [f"{word}={LONE}" if word in self.lone else word for word in args])

    def invoke(self, ctx: click.Context) -> Any:
        given = ctx.meta.get(FLAGS, {})
        own = {name: ctx.params.pop(name) for name in ("quiet", "verbose", "as_json")}
        console = Console(
            quiet=own["quiet"] or given.get("quiet", False),
            verbose=own["verbose"] + given.get("verbose", 0),
            as_json=own["as_json"] or given.get("as_json", False),
            live=self.live,
        )
        ctx.obj = console
        with console:
            return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"  {example}\n")


class Family(Verb, click.Group):
    """A verb that has verbs of its own."""


def every_verb() -> list[click.Parameter]:
    return [
        click.Option(["-q", "--quiet"], is_flag=True, help="Print results only."),
        click.Option(["-v", "--verbose"], count=True, help="Print more; twice: a traceback with every error."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document on one line."),
    ]


def stacked(*decorators: Callable[[Any], Any]) -> Callable[[Decorated], Decorated]:
    """Several decorators as one, applied so that the first is shown first."""

    def apply(function: Decorated) -> Decorated:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


bundle_argument = click.argument("bundle", type=click.Path(path_type=Path), default=Path(BUNDLE_DIR), required=False)
name_argument = click.argument("name", required=False, default=None)
token_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    envvar=ENV_TOKEN_FILE,
    metavar="FILE",
    help="File with the token to send; its first line is taken.",
)
trust_option = click.option(
    "--trust",
    metavar="[=sha256:DIGEST]",
    help="Load a file that can run code; with =sha256:..., only if that is its digest.",
)


def one_tag(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """What was given, of --image or --tag. Raises UsageRefused where the two name different images."""
    other = context.params.get("tag" if parameter.name == "image" else "image")
    if given and other:
        from wherry.release.reference import Reference

        image, tag = (given, other) if parameter.name == "image" else (other, given)
        named = Reference.parse(image)
        if (named.digest or named.tag or tag) != tag:
            reason = f"--image names {named}, and --tag {tag}: which of the two?"
            raise UsageRefused(reason, hint=f"--image {named}, or --image {named.tagged(tag)}")
    return given


image_options = stacked(
    click.option(
        "-t", "--image", metavar="REF", callback=one_tag, help="Image name, as registry/name or registry/name:tag."
    ),
    click.option(
        "--tag", metavar="TAG", callback=one_tag, help="Tag of the image; without one it is derived from the content."
    ),
)
cluster_options = stacked(
    click.option("--context", metavar="NAME", help="Context of the kubeconfig."),
    click.option("-n", "--namespace", metavar="NAME", help="Namespace; by default the context's."),
    click.option(
        "--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Kubeconfig to read in place of yours."
    ),
)


def trust_of(given: str | None) -> bool | str:
    """What --trust says: no, yes, or yes to the file with this digest."""
    return given is not None and (given == LONE or given)
