"""`wherry predict`: rows to a service or a bundle, and what comes back."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from wherry.cli import payload, table
from wherry.cli.ask import Service
from wherry.cli.asking import Asker, Local, Remote, records_of
from wherry.cli.console import Console
from wherry.cli.doors import model_option
from wherry.cli.failures import NO
from wherry.cli.quality import quality
from wherry.cli.verb import Verb, token_option
from wherry.contract.golden import Difference, differences
from wherry.contract.names import BUNDLE_DIR, EXAMPLE_FILE, MANIFEST_FILE, SERVING_PORT
from wherry.contract.pictures import recognised
from wherry.contract.wire import Cell
from wherry.errors import UsageRefused

CHUNK_ROWS = 1000  # rows a request; small enough for the service's body limit and for replies to come soon


@click.command(
    cls=Verb,
    examples=[
        "wherry predict http://127.0.0.1:8080 bundle/example.json",
        "wherry predict http://127.0.0.1:5000 feature_1=1 feature_2=1 feature_3=1",
        "wherry predict http://127.0.0.1:8080 test.csv > predictions.txt",
        "wherry predict http://127.0.0.1:8080 --image dog.jpg",
        "wherry predict http://127.0.0.1:8080 --model boats/2 x0=5",
        "wherry predict bundle test.parquet",
        "wherry predict --check",
        "wherry predict --check http://127.0.0.1:8080",
    ],
)
@click.argument("words", nargs=-1, metavar="[URL|BUNDLE] [FILE|-] [KEY=VALUE ...]")
@model_option
@click.option("--image", type=click.Path(path_type=Path), metavar="FILE", help="Ask about this picture.")
@click.option("--check", is_flag=True, help="Ask the golden rows of the bundle; exit 4 when the answers differ.")
@click.option("--encoding", default="utf-8", show_default=True, metavar="ENC", help="Encoding of a CSV file.")
@token_option
@click.pass_obj
def predict(
    console: Console,
    words: tuple[str, ...],
    model: str | None,
    image: Path | None,
    check: bool,
    encoding: str,
    token_file: Path | None,
) -> int | None:
    """Ask a service (an argument with ://) or a bundle (a folder; ./bundle when none is named) for predictions.

    What to ask is a file or - (JSON, CSV, Parquet or a picture, told apart by content), or KEY=VALUE for each column.
    The reply to one record is printed as it was sent; many rows give one line a row. Where the rows hold the right
    answers too, the quality of the predictions is printed beside that of always giving the most frequent answer, or
    the mean.
    """
    asked = payload.sort((*words, str(image)) if image is not None else words)
    if not check and asked.file is None and not asked.pairs:
        raise nothing_asked(asked)
    if model and asked.url is None:
        raise click.UsageError("--model chooses among the models of a service: name its address; a bundle is one model")
    with asker(asked, model, token_file) as answers:
        if check:
            return replay(console, asked, answers)
        if asked.file is None:
            single(console, answers, payload.from_pairs(asked.pairs, answers.signature), None)
            return None
        body = payload.content(asked.file)
        if image is not None or recognised(body):
            column = answers.signature.picture if answers.signature else None
            single(console, answers, {column.name if column else "image": b64encode(body).decode()}, None)
            return None
        value = payload.as_json(body, str(asked.file))
        if value is None:
            many(console, answers, body, asked.file, encoding)
        elif payload.is_single(value):
            single(console, answers, value, body)
        else:
            listed(console, answers, value, body)
    return None


def nothing_asked(asked: payload.Words) -> UsageRefused:
    """What is missing of a request that names no rows, with the whole command."""
    here = (Path(BUNDLE_DIR) / MANIFEST_FILE).is_file()
    if asked.url is None and asked.bundle is None and not here:
        reason = f"there is no bundle here (no ./{BUNDLE_DIR}), and no service is named"
        return UsageRefused(
            reason, hint=f"wherry predict http://127.0.0.1:{SERVING_PORT} FILE, or wherry predict BUNDLE FILE"
        )
    where = asked.url or asked.bundle or BUNDLE_DIR
    example = f"{asked.bundle or BUNDLE_DIR}/{EXAMPLE_FILE}" if asked.bundle or here else "FILE"
    return UsageRefused("nothing to ask: add a file, - or KEY=VALUE", hint=f"wherry predict {where} {example}")


@contextmanager
def asker(asked: payload.Words, model: str | None, token_file: Path | None) -> Iterator[Asker]:
    """Whoever is to answer: the service at the address, else the bundle."""
    bundle = asked.bundle or Path(BUNDLE_DIR)
    if asked.url is None:
        yield Local(bundle)
    else:
        with Service(asked.url, token_file) as service:
            yield Remote(service, bundle, model)


def single(console: Console, answers: Asker, value: Any, body: bytes | None) -> None:
    """One record: the reply as it was sent."""
    console.say(answers.ask(value, body, single=True).text)


def listed(console: Console, answers: Asker, value: Any, body: bytes) -> None:
    """Several rows as JSON, in one request: a line for each."""
    reply = answers.ask(value, body, single=False)
    if reply.predictions is None:
        console.say(reply.text)
        return
    signature = answers.signature
    records = records_of(value)
    target = signature.target if signature else ""
    truth = (
        [record.get(target) for record in records]
        if all(isinstance(r, dict) and target in r for r in records)
        else None
    )
    report(console, answers, reply.predictions, truth)


def many(console: Console, answers: Asker, body: bytes, file: Path, encoding: str) -> None:
    """A table: asked in parts, a line for each row as its part comes back."""
    path, folder = payload.table_file(body, file)
    try:
        rows = payload.read_table(path, encoding, answers.signature)
    finally:
        if folder is not None:
            folder.cleanup()
    predictions: list[Any] = []
    for part in payload.chunks(rows, CHUNK_ROWS):
        found = answers.ask_rows(part.columns, part.cells, len(predictions))
        predictions.extend(found)
        if not console.as_json:
            console.say_all(line(prediction) for prediction in found)
    report(console, answers, predictions, rows.truth, said=not console.as_json)


def report(
    console: Console, answers: Asker, predictions: list[Any], truth: list[Cell] | None, *, said: bool = False
) -> None:
    """The predictions, a line for each unless they are `said`, and how good they are where the truth is known."""
    signature = answers.signature
    found = quality(signature.output.kind, predictions, truth) if truth and signature else []
    if console.as_json:
        console.document({"predictions": predictions, **({"metrics": found} if found else {})})
        return
    if not said:
        console.say_all(line(prediction) for prediction in predictions)
    if found:
        rows = [(metric.name, metric.value, metric.baseline, metric.rows) for metric in found]
        text = "\n".join(
            table.lines(("metric", "value", "baseline", "rows"), rows, right=("value", "baseline", "rows"))
        )
        console.note(text)


def line(prediction: Any) -> str:
    """A prediction on one line: a text as it is, anything else as JSON."""
    if isinstance(prediction, str):
        return prediction.replace("\n", "\\n")
    return msgspec.json.encode(prediction).decode()


def replay(console: Console, asked: payload.Words, answers: Asker) -> int:
    """Ask the golden rows, and say where the answers differ: 0, or 4."""
    from wherry.model.bundle import golden, verify

    bundle = asked.bundle or Path(BUNDLE_DIR)
    manifest = verify(bundle)
    rows = golden(bundle, manifest)
    where = asked.url or str(bundle)
    if not rows.rows:
        raise UsageRefused(
            f"{bundle} holds no golden rows to check with", hint="wherry pack MODEL --data FILE keeps some"
        )
    answered = answers.replay(rows.request())
    found: tuple[Difference, ...] = differences(
        rows.predictions, answered, rtol=manifest.golden.rtol, atol=manifest.golden.atol
    )
    if console.as_json:
        console.document({"checked": len(rows.rows), "differences": found})
    elif found:
        console.say_all(
            table.lines(("row", "expected", "found"), [(d.row, line(d.expected), line(d.found)) for d in found])
        )
        console.note(f"{where} answers {len(found)} of {len(rows.rows)} golden rows otherwise than when it was packed")
    else:
        console.say(f"{where} answers all {table.count(len(rows.rows), 'golden row')} as when it was packed")
    return NO if found else 0
