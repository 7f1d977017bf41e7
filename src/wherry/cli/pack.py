"""`wherry pack`: from a model file to a bundle, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wherry.cli import describe, project, table
from wherry.cli.console import Console
from wherry.cli.verb import Verb, trust_of, trust_option
from wherry.contract.manifest import Manifest
from wherry.contract.names import BUNDLE_DIR, EXAMPLE_FILE, SERVING_PORT, object_name
from wherry.contract.pictures import PictureModel
from wherry.errors import NotVouched


@click.command(
    cls=Verb,
    lone=("--trust",),
    examples=[
        "wherry pack model.joblib --data train.csv --target diagnosis --trust",
        "wherry pack model.skops --data train.parquet --target price --to bundles/price",
        "wherry pack model.pkl --data train.csv --encoding latin-1 --trust=sha256:HEX",
        "wherry pack price.onnx --data train.csv --target price",
        "wherry pack net.pt2 --data train.csv --labels classes.txt --trust",
        "wherry pack resnet50.onnx --labels imagenet.txt",
        "wherry pack service.py --with weights.npz --trust",
    ],
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rows like those the model was trained on: CSV, Parquet or JSON lines. For --labels: pictures, if any.",
)
@click.option("--target", metavar="COL", help="Column that holds the right answers.")
@click.option(
    "--labels",
    metavar="FILE",
    help="The classes that MODEL (ONNX, PyTorch, Keras) has a number for: one a line in FILE.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    default=Path(BUNDLE_DIR),
    show_default=True,
    metavar="DIR",
    help="Folder to write; a bundle there is replaced, another folder never.",
)
@click.option("--name", help="Name of the model; by default the file's.")
@click.option("--version", default="1", show_default=True, metavar="V", help="Version of the model.")
@trust_option
@click.option("--allow-pickle", is_flag=True, help="Permit pickle in the bundle, where no other form will do.")
@click.option(
    "--float", "float_columns", multiple=True, metavar="COL", help="Take fractions in this column of whole numbers."
)
@click.option("--encoding", default="utf-8", show_default=True, metavar="ENC", help="Encoding of a CSV file.")
@click.option(
    "--with",
    "beside",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="For Python code: a file beside it that it reads.",
)
@click.pass_obj
def pack(console: Console, /, model: Path, trust: str | None, to: Path, labels: str | None, **options: Any) -> None:
    """Turn MODEL into a bundle: a joblib, pickle or skops file, one of XGBoost or LightGBM, an ONNX file for tables or
    pictures, a program of PyTorch (.pt2, TorchScript), a .keras file, a folder that MLflow saved, or Python code.

    Its columns, their types and ranges come from the estimator and the sample. The model is stored in the simplest form
    that is proven to answer alike: linear arrays, ONNX, skops, and pickle only with --allow-pickle. What is done to
    pictures before the model sees them is declared in [model.image] of wherry.toml.
    """
    declared = project.load(console, {"model.image.labels": labels}).project.model.image
    if declared.labels and not of_tables(model):
        manifest = pictures(console, model, declared, to=to, **options)
    elif options["data"] is None and not states_columns(model):
        raise click.UsageError("Missing option '--data'.")
    else:
        manifest = vouched(console, model, trust_of(trust), to=to, labels=Path(labels) if labels else None, **options)
    if console.as_json:
        console.document({"bundle": str(to), "manifest": manifest})
    elif console.quiet:
        console.say(str(to))
    else:
        show(console, manifest, to, name_line(manifest, model, given=options["name"] is not None))


def states_columns(model: Path) -> bool:
    """Whether the model may say itself which columns it takes, so that it can be packed without a sample."""
    from wherry.model.pack import mlflow
    from wherry.model.reading import files

    return mlflow.is_folder(model) or files.read(model).kind in ("python", "onnx")


def of_tables(model: Path) -> bool:
    """Whether labels are for the columns of a table: of a graph that does not take pictures, or of what becomes one."""
    from wherry.model.reading import files
    from wherry.model.reading.graph_head import head_of

    file = files.read(model)
    if file.kind in ("pt2", "torchscript", "keras"):
        return True
    if file.kind != "onnx":
        return False
    head = head_of(file.content, file.path)
    return bool(head.inputs) and not head.of_pictures


def pictures(
    console: Console,
    model: Path,
    declared: PictureModel,
    *,
    data: Path | None,
    to: Path,
    name: str | None,
    version: str,
    **options: Any,
) -> Manifest:
    """A model of pictures, packed; options that say something of tables are refused."""
    from wherry.model.pack.pictures import pack_graph

    if options.get("beside"):
        raise click.UsageError("--with is for Python code, and this has labels")
    if options.get("target") or options.get("float_columns") or options.get("allow_pickle"):
        raise click.UsageError("--target, --float and --allow-pickle are for a model of tables, and this has labels")
    return pack_graph(model, declared, data=data, to=to, name=name, version=version, tell=console.tell)


def name_line(manifest: Manifest, model: Path, *, given: bool) -> str:
    """The model's name and version, and where the name is from when nobody gave it."""
    line = f"{manifest.name} {manifest.version}"
    in_cluster = object_name(manifest.name)
    if in_cluster != manifest.name:
        line += f", in a cluster {in_cluster}"
    if given:
        return line
    if model.name.partition(".")[0].lower() != "model":
        return f"{line} (the file's); --name changes it"
    whose = "the folder's, as the file is called model" if manifest.name != "model" else "the file's"
    return f"{line} ({whose}); --name changes it"


def vouched(console: Console, model: Path, trust: bool | str, **options: Any) -> Manifest:
    """The packed model. Where it takes trust and somebody is there to ask, ask; without a yes, NotVouched."""
    from wherry.model.pack import pack_file

    try:
        return pack_file(model, trust=trust, tell=console.tell, **options)
    except NotVouched as error:
        if not console.interactive or trust:
            raise
        console.close()
        click.echo(f"{error}.", err=True)
        click.echo(f"  sha256:{error.digest}", err=True)
        if not click.confirm("Do you know who made this file, and load it?", err=True):
            raise
        return pack_file(model, trust=f"sha256:{error.digest}", tell=console.tell, **options)


def show(console: Console, manifest: Manifest, to: Path, name: str) -> None:
    console.say_all(describe.signature(manifest.signature, width=console.width))
    if manifest.metrics:
        console.say()
        console.say_all(describe.metrics(manifest.metrics))
    console.say()
    known = [
        ("bundle", str(to)),
        ("name", name),
        ("stored as", "\n".join(describe.form(manifest.conversion))),
        ("measured", describe.measured(manifest.measured)),
    ]
    console.say_all(table.pairs(known, width=console.width))
    where = "" if to == Path(BUNDLE_DIR) else f" {to}"
    console.note(
        "Next:",
        hint=f"wherry serve{where}\n  wherry predict http://127.0.0.1:{SERVING_PORT} {to / EXAMPLE_FILE}",
    )
