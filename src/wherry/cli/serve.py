"""`wherry serve`: the service on this machine, from a bundle or straight from a model file."""

from __future__ import annotations

from pathlib import Path

import click

from wherry.cli import project
from wherry.cli.console import Console
from wherry.cli.verb import Verb, trust_of, trust_option
from wherry.contract.names import BUNDLE_DIR
from wherry.contract.pictures import PictureModel


@click.command(
    cls=Verb,
    lone=("--trust",),
    live=False,  # the service forks; nothing may draw meanwhile
    examples=[
        "wherry serve",
        "wherry serve bundles/price --port 9000",
        "wherry serve bundles/price bundles/price-2 bundles/rooms",
        "wherry serve model.joblib --trust",
        "wherry serve model.joblib --data train.csv --target diagnosis --trust",
        "wherry serve service.py --trust",
    ],
)
@click.argument("bundles", type=click.Path(path_type=Path), nargs=-1, metavar="[BUNDLE|MODEL]...")
@click.option("--host", metavar="ADDRESS", help="Address to listen on; by default 127.0.0.1.")
@click.option("-p", "--port", type=int, metavar="N", help="Serving port; by default 8080.")
@click.option("--admin-port", type=int, metavar="N", help="Port of the probes and /metrics; by default 8082.")
@click.option("--workers", type=int, metavar="N", help="Worker processes; by default 1.")
@click.option("--no-store", is_flag=True, help="Keep no predictions.")
@click.option("--token-file", type=str, metavar="FILE", help="Answer only who sends one of its tokens, one a line.")
@click.option("--tls-cert", type=str, metavar="FILE", help="Speak HTTPS with this PEM certificate chain.")
@click.option("--tls-key", type=str, metavar="FILE", help="PEM file with the certificate's key.")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE", help="Sample for a model file: its columns and types."
)
@click.option("--target", metavar="COL", help="Column of --data that holds the right answers.")
@trust_option
@click.pass_obj
def serve(
    console: Console,
    bundles: tuple[Path, ...],
    host: str | None,
    port: int | None,
    admin_port: int | None,
    workers: int | None,
    no_store: bool,
    token_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    data: Path | None,
    target: str | None,
    trust: str | None,
) -> int:
    """Answer predictions over HTTP from BUNDLE (a folder; ./bundle when none is named) or MODEL (a file).

    Several are served by their names and versions; what names no model is the first one's.
    A model file is packed first. Without --data its columns are called x0, x1, ... where the model knows no names.
    The first Ctrl-C finishes what is in flight; the second ends at once.
    """
    from wherry.server.run import serve as run

    flags = {
        "serve.host": host,
        "serve.port": port,
        "serve.admin_port": admin_port,
        "serve.workers": workers,
        "serve.token_file": token_file,
        "serve.tls_cert": tls_cert,
        "serve.tls_key": tls_key,
        "store.enabled": False if no_store else None,
        "serve.bundles": [str(further) for further in bundles[1:]] or None,
    }
    resolved = project.load(console, flags)
    bundle = bundles[0] if bundles else Path(BUNDLE_DIR)
    if files := [further for further in bundles[1:] if further.is_file()]:
        raise click.UsageError(f"only the first may be a model file; wherry pack {files[0]} makes a bundle of it")
    if bundle.is_file() or (bundle / "MLmodel").is_file():
        bundle = packed(console, bundle, resolved.project.model.image, data, target, trust_of(trust))
    elif data or target or trust:
        raise click.UsageError("--data, --target and --trust are for a model file, and this is a bundle")
    return run(
        bundle,
        resolved.project,
        tell=console.tell,
        admin_port_fixed="serve.admin_port" in resolved.origins,
        state=project.state(),
    )


def packed(
    console: Console, model: Path, declared: PictureModel, data: Path | None, target: str | None, trust: bool | str
) -> Path:
    """A bundle made of a model file, in the project's own folder."""
    from wherry.cli import describe
    from wherry.cli.pack import pictures, vouched

    to = project.state() / "packed" / model.stem
    to.parent.mkdir(parents=True, exist_ok=True)
    if declared.labels:
        pictures(console, model, declared, data=data, to=to, name=None, version="1", target=target)
        console.note(f"packed {model} into {to}")
        return to
    manifest = vouched(
        console,
        model,
        trust,
        data=data,
        target=target,
        encoding="utf-8",
        to=to,
        name=None,
        version="1",
        allow_pickle=False,
        float_columns=(),
    )
    console.note(f"packed {model} into {to}, stored as {manifest.conversion.form}")
    if data is None:
        columns = describe.assumed(manifest.signature)
        console.note(
            f"no sample was given: the columns are {columns}, and nothing proves the answers",
            hint=f"wherry pack {model} --data FILE --target COLUMN",
        )
    return to
