"""From a trained model to a bundle: the recipe."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.contract.events import Note, Step, Tell, silent
from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import FORMAT, Golden, Manifest, Measured, Metric, Origin
from wherry.contract.names import BASELINE_FILE, BUNDLE_DIR, EXAMPLE_FILE, GOLDEN_FILE
from wherry.contract.signature import Signature
from wherry.contract.wire import Cell, Outputs
from wherry.model import bundle, golden, measure, tables
from wherry.model.pack import baseline, metrics, mlflow, naming
from wherry.model.pack.keeping import warm
from wherry.model.pack.opening import open_subject
from wherry.model.pack.subject import SAMPLE, Estimator, Given, Subject
from wherry.model.proving.convert import Stored

if TYPE_CHECKING:
    from wherry.model.tables.sampled import Described

# More rows than this are thinned out evenly: enough for every figure, and nobody waits an hour for a proof.
MOST_ROWS = 20_000


def pack(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    to: Path | str = BUNDLE_DIR,
    name: str | None = None,
    version: str = "1",
    target: str = "",
    allow_pickle: bool = False,
    float_columns: Sequence[str] = (),
    tell: Tell = silent,
) -> Manifest:
    """Turn a fitted scikit-learn estimator into a bundle in the folder `to`, and return its manifest.

    X: the training data, or rows like them: a DataFrame, an array, a list of lists (n rows, one column a feature).
    y: the right answers, n of them, for metrics. float_columns: columns of whole numbers that may take fractions.
    Raises ModelUnknown, ModelNotFitted, SampleUnfit, NotStorable, FolderTaken, DiskFull; nothing is written then.
    """
    with stage(tell, "reading the model"):
        from wherry.model.flavors.sklearn import restore

        restore.hold(model)
    subject = Estimator(model)
    return make(
        Task(
            subject=subject,
            given=Given(
                sample=X,
                answers=y,
                target=target or str(getattr(y, "name", "") or ""),
                float_columns=tuple(float_columns),
            ),
            origin=Origin(subject.name),
            to=Path(to),
            name=naming.given(name) if name is not None else naming.of_estimator(model, Path(to)),
            version=naming.version(version),
            allow_pickle=allow_pickle,
        ),
        tell,
    )


def pack_file(
    path: Path,
    *,
    data: Path | None,
    target: str | None,
    encoding: str = "utf-8",
    to: Path = Path(BUNDLE_DIR),
    name: str | None = None,
    version: str = "1",
    trust: bool | str = False,
    allow_pickle: bool = False,
    float_columns: Sequence[str] = (),
    allow_drift: bool = False,
    beside: Sequence[Path] = (),
    labels: Path | None = None,
    tell: Tell = silent,
) -> Manifest:
    """Turn a model file, or a folder that MLflow wrote, into a bundle. Without `data` it has no golden rows, unless
    MLflow kept an example, and its columns are the model's own, or x0, x1, ... beside: files that a Python file reads,
    which go into the bundle with it. labels: a file with the name of each class that a graph has a number for.

    Raises what `pack` raises, NotVouched, VersionDrift, CodeFailed, and what is wrong with a file, by name.
    """
    label, number = naming.given(name) if name is not None else naming.of_file(path), naming.version(version)
    rows, answers = None, None
    if data is not None:
        with stage(tell, f"reading {data}"):
            rows, answers = tables.read(data, encoding).split(target)
    held = path
    if mlflow.is_folder(path):
        folder = mlflow.read(path)
        held, rows = folder.path, rows if data is not None else folder.example
        tell(Note(folder.sentence()))
    with stage(tell, f"reading {held}"):
        classes = naming.labels_of(labels) if labels else ()
        opened = open_subject(held, trust=trust, allow_drift=allow_drift, beside=beside, labels=classes, tell=tell)
    tell(Note(opened.note))
    return make(
        Task(
            subject=opened.subject,
            given=Given(
                sample=rows,
                answers=answers,
                target=target or "",
                float_columns=tuple(float_columns),
                source=str(data) if data is not None else SAMPLE,
            ),
            origin=Origin(opened.subject.name, held.name, opened.sha256),
            to=to,
            name=label,
            version=number,
            allow_pickle=allow_pickle,
        ),
        tell,
    )


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be packed, and as what."""

    subject: Subject
    given: Given
    origin: Origin
    to: Path
    name: str
    version: str
    allow_pickle: bool


def make(task: Task, tell: Tell) -> Manifest:
    """The recipe: describe, convert, choose golden rows, write, measure, seal."""
    bundle.refuse_other_folder(task.to, Path(os.path.realpath(task.to)))
    with stage(tell, "inferring the signature"):
        found = described(task, tell)
    signature, (rows, truth) = found.signature, thinned(found.rows, found.answers)
    with stage(tell, "choosing the form that answers alike"):
        stored = task.subject.store(signature, rows, allow_pickle=task.allow_pickle, tell=tell)
    asked = golden.choose(signature, rows, stored.answers, stored.scorer, rtol=stored.rtol, atol=stored.atol)
    figures = metrics_of(signature, truth, stored.answers, len(found.rows), tell)
    files = {
        stored.file: stored.data,
        **stored.beside,
        GOLDEN_FILE: msgspec.json.encode(asked),
        BASELINE_FILE: msgspec.json.encode(baseline.of(signature, rows, stored.answers.predictions)),
        EXAMPLE_FILE: msgspec.json.format(msgspec.json.encode(example(signature, asked))) + b"\n",
    }
    return measured_and_written(task.to, drafted(task, signature, stored, len(asked.rows), figures), files, tell)


def described(task: Task, tell: Tell) -> Described:
    """The signature and the rows of the task's sample."""
    given = task.given
    found = task.subject.describe(given)
    if found.left_out:
        tell(Note(f"{found.left_out} rows with infinite numbers are left aside: no request can carry them", warn=True))
    if given.answers is None and task.origin.file and len(found.signature.unused) == 1:
        from wherry.model.tables.columns import is_saved_index

        name = found.signature.unused[0]
        values = given.sample[name].dropna().tolist()
        if not is_saved_index(name) and metrics.comparable(found.signature.output, values):
            tell(Note(f"{name} looks like the right answers", hint=f"--target {shlex.quote(name)} gives metrics"))
    return found


def drafted(
    task: Task, signature: Signature, stored: Stored, golden_rows: int, figures: tuple[Metric, ...]
) -> Manifest:
    """The manifest, as far as it can be written before the bundle was loaded once."""
    return Manifest(
        format=FORMAT,
        name=task.name,
        version=task.version,
        digest="",
        flavor=stored.flavor,
        model=stored.file,
        signature=signature,
        golden=Golden(GOLDEN_FILE, golden_rows, stored.rtol, stored.atol),
        baseline=BASELINE_FILE,
        requirements=stored.requirements,
        files={},
        origin=msgspec.structs.replace(task.origin, estimator=task.subject.name),  # known once it was described
        conversion=stored.conversion,
        measured=Measured(0.0, 0),
        metrics=figures,
        allow_pickle=task.allow_pickle and stored.conversion.form == "pickle",
    )


def measured_and_written(to: Path, draft: Manifest, files: dict[str, bytes], tell: Tell) -> Manifest:
    """The bundle, first beside its place, where another process loads it and answers; then in it, with the figures."""
    with bundle.beside(Path(os.path.realpath(to))) as folder, stage(tell, "loading it in a process of its own"):
        bundle.write(folder / BUNDLE_DIR, draft, files)
        figures = measure.measure(folder / BUNDLE_DIR)
    return bundle.write(to, msgspec.structs.replace(draft, measured=figures), files)


def thinned(rows: list[Any], truth: list[Any] | None) -> tuple[list[Any], list[Any] | None]:
    """At most MOST_ROWS of the rows, evenly spaced, with their answers."""
    if len(rows) <= MOST_ROWS:
        return rows, truth
    places = [place * len(rows) // MOST_ROWS for place in range(MOST_ROWS)]
    return [rows[place] for place in places], None if truth is None else [truth[place] for place in places]


def metrics_of(
    signature: Signature, truth: list[Any] | None, outputs: Outputs, total: int, tell: Tell
) -> tuple[Metric, ...]:
    if truth is None:
        return ()
    on = metrics.SAMPLE if len(truth) == total else f"{len(truth):,} of the {total:,} rows given to pack"
    try:
        return metrics.of(signature.output, truth, outputs, on=on)
    except metrics.Incomparable as error:
        tell(Note(f"no metrics: {error}", warn=True, hint="give the target as the model was trained on it"))
        return ()


def example(signature: Signature, asked: GoldenRows) -> dict[str, Cell]:
    """A request body of one record: a golden row with nothing missing where there is one."""
    row = next((row for row in asked.rows if None not in row), asked.rows[0] if asked.rows else None)
    if row is not None:
        return dict(zip(asked.columns, row, strict=True))
    return {c.name: 0.0 if c.type == "number" and c.example is None else warm(c) for c in signature.columns}


@contextmanager
def stage(tell: Tell, text: str) -> Iterator[None]:
    """Tell that something begins, and how long it took once it is done."""
    tell(Step(text))
    started = time.perf_counter()
    yield
    tell(Step(text, time.perf_counter() - started))
