"""How a model comes into the service."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from wherry.doctor import pickled
from wherry.doctor.documents import Mapping, items, line_of, walk
from wherry.doctor.project import Project
from wherry.doctor.rule import Place, rule
from wherry.doctor.source import Source, constant, keyword

LOADERS = re.compile(
    r"^((c?pickle|dill|cloudpickle)\.loads?|(sklearn\.externals\.)?joblib\.load|torch\.load|numpy\.load)$", re.I
)
FETCHERS = ("from_pretrained", "torch.hub.load", "hf_hub_download", "snapshot_download", "urlretrieve")
SHARED = re.compile(r"(?<![\w/.])/(var/)?tmp(?=[/:\"'\s]|$)")


def loads(source: Source, within: ast.AST | None = None) -> Iterator[tuple[ast.Call, str]]:
    """The calls that load a file which can run code."""
    for call, name in source.calls(within):
        if not LOADERS.match(name):
            continue
        if name == "torch.load" and constant(keyword(call, "weights_only")) is True:
            continue
        if name == "numpy.load" and constant(keyword(call, "allow_pickle")) is not True:
            continue
        yield call, name


@rule(
    "dangerous",
    consequence="OpenMP's own words: it may crash, or silently give wrong results",
    fix="remove it, and keep one OpenMP runtime: install the libraries from one source (all pip or all conda)",
    source="https://github.com/joblib/threadpoolctl/blob/master/multiple_openmp.md",
)
def duplicate_openmp(project: Project) -> Iterator[Place]:
    """KMP_DUPLICATE_LIB_OK lets two OpenMP runtimes into one process"""
    for source in project.sources:
        for node in source.nodes:
            if constant(node) == "KMP_DUPLICATE_LIB_OK" and sets(source, node):
                before = [each for each in source.nodes if isinstance(each, (ast.Import, ast.ImportFrom))]
                late = any(each.lineno < getattr(node, "lineno", 0) for each in before if heavy(source, each))
                yield Place(source.path, source.at(node), "set after the import that it should precede" if late else "")
    for dockerfile in project.dockerfiles:
        for one in dockerfile.of("ENV", "RUN"):
            if "KMP_DUPLICATE_LIB_OK" in one.rest:
                yield Place(dockerfile.path, one.line)
    for document in project.documents:
        for holder, key, value in walk(document.root):
            if key == "KMP_DUPLICATE_LIB_OK" or (key == "name" and value == "KMP_DUPLICATE_LIB_OK"):
                yield Place(document.path, holder.at.get(key, holder.line))


def sets(source: Source, node: ast.AST) -> bool:
    """Whether a name is that of a variable which is set: environ[NAME] = ..., environ.setdefault(NAME, ...), putenv."""
    holder = source.parents.get(node)
    if isinstance(holder, ast.Subscript):
        return isinstance(holder.ctx, ast.Store)
    if isinstance(holder, ast.Call) and isinstance(holder.func, ast.Attribute):
        return holder.func.attr in ("setdefault", "putenv", "setenv")
    return isinstance(holder, ast.Dict) and "environ" in source.text


def heavy(source: Source, node: ast.Import | ast.ImportFrom) -> bool:
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
    return any(
        name.partition(".")[0] in ("tensorflow", "torch", "sklearn", "keras", "xgboost", "numpy") for name in names
    )


@rule(
    "dangerous",
    consequence="whoever can put a file in its place runs code in the service",
    fix="check its sha-256 before it is loaded; or `wherry pack` it: the bundle holds no pickle, and is verified",
    source="https://docs.python.org/3/library/pickle.html",
)
def unchecked_load(project: Project) -> Iterator[Place]:
    """a file that can run code is loaded, and nobody checks its digest"""
    for source in project.sources:
        if source.is_test or re.search(r"\b(sha256|sha512|blake2b|compare_digest|hmac)\b", source.text):
            continue
        for call, name in loads(source):
            yield Place(source.path, source.at(call), name)


@rule(
    "dangerous",
    consequence="anyone on the machine may write there first, and so run code in the service; and systemd empties it",
    fix="put the model into the image, or on a volume that only the service's owner can write",
    source="https://www.freedesktop.org/software/systemd/man/latest/tmpfiles.d.html",
)
def model_in_tmp(project: Project) -> Iterator[Place]:
    """a model is kept in a folder that everyone may write to"""
    for source in project.sources:
        for call, _ in loads(source):
            within: ast.AST = call
            for holder in source.holders(call):
                if isinstance(holder, ast.With):
                    within = holder
                    break
            texts = [constant(node) for node in ast.walk(within)]
            if any(isinstance(text, str) and SHARED.search(text) for text in texts):
                yield Place(source.path, source.at(call))
    for document in project.documents:
        for mapping, key, value in walk(document.root):
            if key == "hostPath" and isinstance(value, Mapping) and SHARED.search(str(value.get("path"))):
                yield Place(document.path, value.at["path"], f"hostPath {value['path']}")
            elif key == "volumes" and document.is_compose:
                for each in items(value):
                    if isinstance(each, str) and SHARED.match(each.partition(":")[0]):
                        yield Place(document.path, line_of(each, mapping.line), each)
    for command in project.commands:
        copies = re.match(r"(sudo )?(cp|mv|rsync)\b.*\bmodels?\b", command.text)
        mounts = re.search(r"minikube (mount|start\b.*--mount)", command.text)
        if (copies or mounts) and SHARED.search(command.text):
            yield Place(command.file, command.line, command.text[:100])


@rule(
    "misleading",
    consequence="every request pays for reading the file, and two requests hold two models",
    fix="load it once, when the service starts",
    source="https://flask.palletsprojects.com/en/stable/patterns/lazyloading/",
)
def loaded_for_each_request(project: Project) -> Iterator[Place]:
    """the model is loaded again for every request"""
    for source in project.sources:
        for node, name in in_routes(source):
            if LOADERS.match(name) or fetches(name) or makes_weights(node):
                yield Place(source.path, source.at(node), source.text_of(node)[:100])


def in_routes(source: Source) -> Iterator[tuple[ast.Call, str]]:
    """The calls that a request reaches, each once."""
    seen: set[ast.AST] = set()
    for route in source.routes:
        for function in source.reached(route.function):
            for call, name in source.calls(function):
                if call not in seen:
                    seen.add(call)
                    yield call, name


def fetches(name: str) -> bool:
    return any(name == one or name.endswith(f".{one}") for one in FETCHERS)


def makes_weights(call: ast.Call) -> bool:
    """ResNet50(weights="imagenet") and its kin: made by name, fetched from afar."""
    given = keyword(call, "weights") or keyword(call, "pretrained")
    return isinstance(given, ast.Constant) and (
        given.value is True or (isinstance(given.value, str) and "/" not in given.value)
    )


@rule(
    "broken",
    consequence="the first request fails where there is no way out, or where the home folder cannot be written",
    fix="fetch the weights when the image is built, with their digest checked",
    source="https://keras.io/api/applications/",
)
def download_at_request(project: Project) -> Iterator[Place]:
    """weights are downloaded when a request arrives"""
    for source in project.sources:
        for call, name in in_routes(source):
            if fetches(name) or makes_weights(call):
                yield Place(source.path, source.at(call), source.text_of(call)[:100])


@rule(
    "broken",
    consequence="a pickle does not outlive its version, and no wheel before 1.1.3 exists for Python 3.11 or newer",
    fix="wherry doctor --exporter > export_model.py; run it where the model was made, and pack what it writes",
    source="https://scikit-learn.org/stable/model_persistence.html#security-maintainability-limitations",
)
def old_pickle(project: Project) -> Iterator[Place]:
    """a model was saved by a scikit-learn that no longer installs here"""
    for found in pickled.old_models(project):
        estimator = f"{found.estimator} " if found.estimator else ""
        yield Place(found.path, 1, f"{estimator}saved by scikit-learn {found.version}")
    for text in project.requirements:
        for number, line in enumerate(text.lines, 1):
            pinned = re.match(r"\s*(scikit-learn|sklearn)\s*==\s*([\d.]+)", line, re.I)
            if pinned and pickled.is_old(pinned[2]):
                yield Place(text.path, number, line.strip())
