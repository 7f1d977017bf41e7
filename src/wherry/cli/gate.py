"""`wherry gate`: whether a new bundle is good enough to take the place of what serves."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from wherry.cli import payload, project, table
from wherry.cli.ask import Service
from wherry.cli.asking import Asker, Local, Remote
from wherry.cli.clusters import cluster_flags, connected
from wherry.cli.console import Console
from wherry.cli.failures import NO
from wherry.cli.quality import quality
from wherry.cli.verb import Verb, bundle_argument, cluster_options, token_option
from wherry.contract.manifest import Metric
from wherry.contract.names import object_name
from wherry.contract.project import Project
from wherry.contract.wire import Cell
from wherry.errors import CallRefused, FileMissing, GateBlind, NamespaceMissing, NothingDeployed, UsageRefused

if TYPE_CHECKING:
    from wherry.deploy.cluster import Cluster

CHUNK_ROWS = 1000
DULL = {True: "always the largest class", False: "always the mean"}  # by whether more is better: a class, a number
SAME = 1e-9  # relative; less is the arithmetic of another form of the same model


class Judgement(msgspec.Struct, frozen=True):
    """What the gate found. live, baseline: the same metric of the model that serves, None without one, and of always
    answering the mean or the largest class. reasons: why it is not let through, empty where it is."""

    metric: str
    rows: int
    bundle: float
    live: float | None
    baseline: float
    higher_is_better: bool
    reasons: tuple[str, ...]


@click.command(
    cls=Verb,
    examples=[
        "wherry gate",
        "wherry gate --data holdout.csv --context production -n models",
        "wherry gate --live https://models.example/house-prices",
        "wherry gate --no-live --margin 0.01",
    ],
)
@bundle_argument
@click.option("--data", metavar="FILE", help="Rows that training has not seen, with the right answers.")
@click.option("--live", metavar="URL", help="Service to compare with; by default the one that is deployed.")
@click.option("--no-live", is_flag=True, help="Compare with the baseline alone.")
@click.option("--margin", type=float, metavar="X", help="By how much it must be better; below 0 it may be worse.")
@click.option("--encoding", default="utf-8", show_default=True, metavar="ENC", help="Encoding of a CSV file.")
@cluster_options
@token_option
@click.pass_obj
def gate(
    console: Console,
    bundle: Path,
    data: str | None,
    live: str | None,
    no_live: bool,
    margin: float | None,
    encoding: str,
    context: str | None,
    namespace: str | None,
    kubeconfig: Path | None,
    token_file: Path | None,
) -> int:
    """Say whether BUNDLE may take the place of the model that serves: exit 0 when it may, 4 when it may not.

    Both answer the same held-out rows. The bundle has to be better than always answering the mean, or the largest
    class, and not worse than the model that serves. Where nothing serves yet, the first is enough.
    """
    if live and no_live:
        raise click.UsageError("--live and --no-live exclude one another")
    flags = {**cluster_flags(context, namespace), "pipeline.holdout": data, "pipeline.margin": margin}
    wanted = project.load(console, flags).project
    new = Local(bundle)
    rows, truth = held_out(Path(wanted.pipeline.holdout), encoding, new)
    mine = figure(new, asked(new, rows), truth)
    theirs: Metric | None = None
    if not no_live:
        name = object_name(wanted.deploy.name or new.model.manifest.name)
        with serving(console, wanted, live, name, kubeconfig, token_file) as service:
            if service is not None:
                theirs = figure(new, of_live(service, rows, new), truth)
    found = judged(mine, theirs, wanted.pipeline.margin)
    show(console, found)
    return NO if found.reasons else 0


def held_out(path: Path, encoding: str, new: Local) -> tuple[payload.Rows, list[Cell]]:
    """The rows to ask, and their right answers. Raises FileMissing, UsageRefused."""
    if not path.is_file():
        hint = "let training write the rows that it keeps back there, or name them: wherry gate --data FILE"
        raise FileMissing(str(path), "file of held-out rows", hint)
    rows = payload.read_table(path, encoding, new.signature)
    if rows.truth is None:
        target = new.model.signature.target
        lack = f"has no column {target}" if target else "cannot be judged: the bundle does not know its target's name"
        raise UsageRefused(f"{path} {lack}", hint="pack with --target COLUMN, and keep that column in the file")
    return rows, rows.truth


def asked(who: Asker, rows: payload.Rows, keep: set[str] | None = None) -> list[object]:
    """One answer a row; keep: the only columns that `who` knows."""
    places = [place for place, name in enumerate(rows.columns) if keep is None or name in keep]
    columns = [rows.columns[place] for place in places]
    found: list[object] = []
    for part in payload.chunks(rows, CHUNK_ROWS):
        cells = [[row[place] for place in places] for row in part.cells]
        found += who.ask_rows(columns, cells, len(found))
    return found


def of_live(service: Remote, rows: payload.Rows, new: Local) -> list[object]:
    """What the model that serves answers, asked for the columns it knows. Raises GateBlind where it refuses."""
    known = service.signature or new.model.signature
    try:
        return asked(service, rows, {column.name for column in known.columns})
    except CallRefused as error:
        raise GateBlind(service.service.root, str(error)) from error


def figure(new: Local, answers: list[object], truth: list[Cell]) -> Metric:
    """How good the answers are. Raises UsageRefused where nothing can be told."""
    found = quality(new.model.signature.output.kind, answers, truth)
    if not found:
        raise UsageRefused("no held-out row has a right answer that can be compared", hint="wherry predict bundle FILE")
    return found[0]


def judged(mine: Metric, theirs: Metric | None, margin: float) -> Judgement:
    """Whether the bundle is let through: strictly better than the baseline, and at least `margin` better than live."""
    sign = 1 if mine.higher_is_better else -1
    reasons = []
    if sign * (mine.value - mine.baseline) <= SAME * abs(mine.baseline):
        reasons.append(f"it is no better than {DULL[mine.higher_is_better]}")
    if theirs is not None and sign * (mine.value - theirs.value) < margin - SAME * abs(theirs.value):
        wanted = f"not better by {margin:g} than" if margin > 0 else "worse than"
        reasons.append(f"it is {wanted} the model that serves")
    live = None if theirs is None else theirs.value
    return Judgement(mine.name, mine.rows, mine.value, live, mine.baseline, mine.higher_is_better, tuple(reasons))


@contextmanager
def serving(
    console: Console, wanted: Project, live: str | None, name: str, kubeconfig: Path | None, token_file: Path | None
) -> Iterator[Remote | None]:
    """The service that answers now: at the address, else in the cluster; None where nothing is deployed yet."""
    token = token_file or (Path(wanted.serve.token_file) if wanted.serve.token_file else None)
    nowhere = Path()  # no bundle here describes what serves there
    if live:
        with Service(live, token) as service:
            yield Remote(service, nowhere)
        return
    with ExitStack() as stack:
        cluster = stack.enter_context(connected(console, wanted, kubeconfig))
        try:
            url = stack.enter_context(brought(console, cluster, name))
        except (NothingDeployed, NamespaceMissing):
            console.note(f"{name} is not deployed yet: the baseline alone decides")
            yield None
            return
        yield Remote(stack.enter_context(Service(url, token)), nowhere)


@contextmanager
def brought(console: Console, cluster: Cluster, name: str) -> Iterator[str]:
    """The service on a port of this machine while the context lasts. Raises what `forward` raises."""
    from wherry.deploy.forwarding import forward

    stop = threading.Event()
    told: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()

    def carry() -> None:
        try:
            forward(cluster, name, port=0, tell=console.tell, stop=stop, listening=told.put)
        except BaseException as error:  # noqa: BLE001  # raised again by whoever waits for the port
            told.put(error)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    first = told.get()
    if isinstance(first, BaseException):
        raise first
    try:
        yield f"http://127.0.0.1:{first}"
    finally:
        stop.set()
        thread.join()


def show(console: Console, found: Judgement) -> None:
    """The figures side by side, then the verdict."""
    if console.as_json:
        console.document({"passed": not found.reasons, **msgspec.to_builtins(found)})
        return
    dull = DULL[found.higher_is_better]
    figures = [("this bundle", found.bundle), ("the model that serves", found.live), (dull, found.baseline)]
    lines = [(who, value) for who, value in figures if value is not None]
    console.say_all(
        table.lines((f"on {table.count(found.rows, 'held-out row')}", found.metric), lines, right=(found.metric,))
    )
    if found.reasons:
        console.note(f"not let through: {'; '.join(found.reasons)}", warn=True)
    else:
        console.note("let through")
