"""What a bundle or a model file is, without running any of it; and what changed between two bundles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from wherry.contract.golden import GoldenRows, same
from wherry.contract.manifest import Conversion, Manifest, Measured, Metric, Origin, Requirements
from wherry.contract.names import MANIFEST_FILE
from wherry.contract.signature import Column, Signature
from wherry.errors import UsageRefused
from wherry.model import bundle
from wherry.model.reading import files, vouch
from wherry.model.reading.graph_head import head_of
from wherry.model.reading.graphs import has_external_data
from wherry.model.reading.kinds import CALLED
from wherry.model.reading.summary import Part

NO_CODE = "there is no code in it: it is loaded as it is"


class Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """What there is to say about a bundle or a model file; fields that do not apply are empty.

    kind: "bundle", or what the content of the file is. digest: the manifest's, or the file's sha-256. verdict: what
    loading the file could do (model files only); names: every name that loading it looks up; unknown: those of them
    that are not on the fixed list.
    """

    path: str
    kind: str
    digest: str
    size: int
    # of a bundle
    name: str = ""
    version: str = ""
    flavor: str = ""
    signature: Signature | None = None
    metrics: tuple[Metric, ...] = ()
    conversion: Conversion | None = None
    requirements: Requirements | None = None
    measured: Measured | None = None
    origin: Origin | None = None
    golden_rows: int = 0
    files: dict[str, str] = {}
    allow_pickle: bool = False
    # of a model file
    compression: str = ""
    verdict: str = ""
    loads_unasked: bool = False  # whether it is loaded without --trust
    hindrance: str = ""  # why it is not loaded with --trust either
    names: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    estimator: str = ""
    parts: Part | None = None
    fitted: bool = False
    features: tuple[str, ...] = ()
    feature_count: int | None = None
    classes: tuple[Any, ...] = ()
    versions: dict[str, str] = {}
    # of an ONNX graph
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    operators: dict[str, int] = {}  # the version of each domain of them


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that differs: what it is, and its value in each; None where one has no such thing."""

    what: str
    before: Any = None
    after: Any = None


class Comparison(msgspec.Struct, frozen=True):
    """What changed from `a` to `b`. model: what it is made of, for model files; golden_common: golden rows that both
    have; golden_changed: those of them that are answered otherwise (row, answer before, answer after).
    """

    a: str
    b: str
    digests: tuple[str, str]
    signature: tuple[Change, ...]
    libraries: tuple[Change, ...]
    metrics: tuple[Change, ...] = ()
    golden_common: int = 0
    golden_changed: tuple[Change, ...] = ()
    model: tuple[Change, ...] = ()

    @property
    def alike(self) -> bool:
        """Whether it was seen that nothing differs which a client could notice."""
        differ = self.signature or self.libraries or self.metrics or self.golden_changed or self.model
        return self.digests[0] == self.digests[1] or bool(self.golden_common and not differ)


def inspect(path: Path) -> Description:
    """What the bundle or the model file at `path` is.

    Raises FileMissing, ModelUnsafe; BundleDamaged and its kin when a bundle is not what was packed.
    """
    return of_bundle(folder_of(path)) if is_bundle(path) else of_file(path)


def is_bundle(path: Path) -> bool:
    return path.is_dir() or path.name == MANIFEST_FILE


def folder_of(path: Path) -> Path:
    """The bundle that is meant, by its folder or its manifest."""
    return path if path.is_dir() else path.parent


def of_bundle(folder: Path) -> Description:
    manifest = bundle.verify(folder)
    return Description(
        path=str(folder),
        kind="bundle",
        digest=manifest.digest,
        size=sum((folder / name).stat().st_size for name in (MANIFEST_FILE, *manifest.files)),
        name=manifest.name,
        version=manifest.version,
        flavor=manifest.flavor,
        signature=manifest.signature,
        metrics=manifest.metrics,
        conversion=manifest.conversion,
        requirements=manifest.requirements,
        measured=manifest.measured,
        origin=manifest.origin,
        golden_rows=manifest.golden.rows,
        files=manifest.files,
        allow_pickle=manifest.allow_pickle,
        estimator=manifest.origin.estimator,
    )


def of_file(path: Path) -> Description:
    file = files.read(path)
    if file.kind == "onnx":
        return of_graph(file)
    if file.kind not in vouch.LOADABLE:
        said = {"python": vouch.PROGRAM, "xgboost": NO_CODE, "lightgbm": NO_CODE}
        said |= dict.fromkeys(("pt2", "torchscript", "keras"), vouch.GRAPHED)
        verdict = said.get(file.kind, "never loaded")
        return Description(
            file.path, CALLED[file.kind], file.sha256, file.size, compression=file.compression, verdict=verdict
        )
    contents = vouch.contents_of(file)
    summary = contents.summary
    joblib = file.kind == "pickle" and (contents.arrays_apart or bool(file.compression))
    return Description(
        path=file.path,
        kind="joblib" if joblib else file.kind,
        digest=file.sha256,
        size=file.size,
        compression=file.compression,
        verdict=contents.sentence(),
        hindrance=vouch.hindrance(contents),
        loads_unasked=contents.verdict == "known",
        names=contents.names,
        unknown=contents.unknown,
        estimator=vouch.called(contents),
        parts=summary.root,
        fitted=summary.fitted,
        features=summary.features,
        feature_count=summary.feature_count,
        classes=summary.classes,
        versions=summary.versions,
    )


def of_graph(file: files.ModelFile) -> Description:
    head = head_of(file.content, file.path)
    verdict = "never loaded: it keeps part of its data in other files" if has_external_data(file.content) else NO_CODE
    writer, _, version = head.producer.partition(" ")
    return Description(
        file.path,
        CALLED[file.kind],
        file.sha256,
        file.size,
        compression=file.compression,
        verdict=verdict,
        inputs=tuple(map(str, head.inputs)),
        outputs=tuple(map(str, head.outputs)),
        operators=head.opsets,
        classes=head.classes,
        versions={writer: version} if writer else {},
    )


def compare(a: Path, b: Path) -> Comparison:
    """What changed from `a` to `b`, two bundles or two model files; bundles are verified, and nothing is run.

    Raises UsageRefused for a bundle and a file, and what `inspect` raises.
    """
    if is_bundle(a) != is_bundle(b):
        file = b if is_bundle(a) else a
        hint = f"pack the file first: wherry pack {file} --data FILE --to DIR"
        raise UsageRefused(f"{a} and {b} are a bundle and a file, which have nothing to be compared by", hint=hint)
    return compare_bundles(folder_of(a), folder_of(b)) if is_bundle(a) else compare_files(of_file(a), of_file(b))


def compare_files(before: Description, after: Description) -> Comparison:
    """What two model files say of themselves; their answers are not known."""
    return Comparison(
        a=before.path,
        b=after.path,
        digests=(before.digest, after.digest),
        signature=tuple(
            Change(title, was, is_now)
            for title, was, is_now in (
                ("takes", before.inputs or before.features, after.inputs or after.features),
                ("number of columns", before.feature_count, after.feature_count),
                ("answers", before.outputs, after.outputs),
                ("classes", before.classes, after.classes),
            )
            if was != is_now
        ),
        libraries=tuple(changes({**before.versions, **before.operators}, {**after.versions, **after.operators})),
        model=tuple(changes(dict(made_of(before)), dict(made_of(after)))),
    )


def made_of(found: Description) -> Iterator[tuple[str, Any]]:
    """What a model file holds: its kind, and each estimator with its settings."""
    yield "kind", found.kind
    yield "loading", found.verdict
    yield "model", found.estimator or None
    inner = [("", found.parts)] if found.parts else []
    while inner:
        above, part = inner.pop()
        name = f"{above}{part.name or part.type.rpartition('.')[2]}"
        yield name, part.type
        yield from ((f"{name}.{key}", value) for key, value in part.settings.items())
        inner += [(f"{name}.", each) for each in part.parts]


def compare_bundles(a: Path, b: Path) -> Comparison:
    before, after = bundle.verify(a), bundle.verify(b)
    common, changed = golden_changes(bundle.golden(a, before), bundle.golden(b, after), after)
    return Comparison(
        a=str(a),
        b=str(b),
        digests=(before.digest, after.digest),
        signature=tuple(signature_changes(before.signature, after.signature)),
        libraries=tuple(library_changes(before, after)),
        metrics=tuple(
            changes(
                {metric.name: metric.value for metric in before.metrics},
                {metric.name: metric.value for metric in after.metrics},
            )
        ),
        golden_common=common,
        golden_changed=changed,
    )


def signature_changes(before: Signature, after: Signature) -> Iterator[Change]:
    old, new = {c.name: c for c in before.columns}, {c.name: c for c in after.columns}
    yield from (Change(f"column {name}", before=old[name].type) for name in old if name not in new)
    yield from (Change(f"column {name}", after=new[name].type) for name in new if name not in old)
    for name in (name for name in old if name in new):
        for field, was, is_now in column_changes(old[name], new[name]):
            yield Change(f"column {name}: {field}", was, is_now)
    if set(old) == set(new) and before.names != after.names:
        yield Change("order of the columns", list(before.names), list(after.names))
    for field in ("kind", "type", "classes", "probabilities", "width"):
        was, is_now = getattr(before.output, field), getattr(after.output, field)
        if was != is_now:
            yield Change(f"output: {field}", was, is_now)
    if before.target != after.target:
        yield Change("target", before.target, after.target)


def column_changes(old: Column, new: Column) -> Iterator[tuple[str, Any, Any]]:
    for field in ("type", "nullable", "unknown_ok", "low", "high", "categories"):
        was, is_now = getattr(old, field), getattr(new, field)
        if was != is_now:
            yield field, was, is_now


def library_changes(before: Manifest, after: Manifest) -> Iterator[Change]:
    yield from changes(
        {"python": before.requirements.python, **before.requirements.packages, "stored as": before.conversion.form},
        {"python": after.requirements.python, **after.requirements.packages, "stored as": after.conversion.form},
    )


def changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield Change(key, before.get(key), after.get(key))


def golden_changes(before: GoldenRows, after: GoldenRows, manifest: Manifest) -> tuple[int, tuple[Change, ...]]:
    """How many golden rows both bundles have, by name and value, and which of them are answered otherwise."""
    old = {key_of(before, place): place for place in range(len(before.rows))}
    common, found = 0, []
    for place in range(len(after.rows)):
        at = old.get(key_of(after, place))
        if at is None:
            continue
        common += 1
        was, is_now = before.predictions[at], after.predictions[place]
        if not same(was, is_now, manifest.golden.rtol, manifest.golden.atol):
            row = dict(zip(after.columns, after.rows[place], strict=True))
            found.append(Change(msgspec.json.encode(row).decode(), was, is_now))
    return common, tuple(found)


def key_of(golden: GoldenRows, place: int) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(cell)) for name, cell in zip(golden.columns, golden.rows[place], strict=True)))
