"""Pictures that a service is sent."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from wherry.doctor.project import Project
from wherry.doctor.rule import Place, rule
from wherry.doctor.source import Source


def opened_uploads(project: Project) -> Iterator[tuple[Source, ast.Call]]:
    """The calls that decode a picture which a request brought."""
    for source in project.sources:
        if re.search(r"\b(request\.files|UploadFile)\b", source.text):
            yield from ((source, call) for call, name in source.calls() if name in ("PIL.Image.open", "Image.open"))


@rule(
    "dangerous",
    consequence="a small file that unpacks to gigabytes, or a large one, takes the service down",
    fix="set app.config['MAX_CONTENT_LENGTH'], and Image.MAX_IMAGE_PIXELS with its warning as an error",
    source="https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.open",
)
def unlimited_upload(project: Project) -> Iterator[Place]:
    """an upload is decoded without a limit on its bytes or pixels"""
    for source, call in opened_uploads(project):
        missing = [name for name in ("MAX_CONTENT_LENGTH", "MAX_IMAGE_PIXELS") if name not in source.text]
        if missing:
            yield Place(source.path, source.at(call), f"no {' and no '.join(missing)}")


@rule(
    "dangerous",
    consequence="the caller's mistake is answered 500, as if the service were broken, and wakes whoever watches it",
    fix="catch PIL.UnidentifiedImageError and answer 400",
    source="https://pillow.readthedocs.io/en/stable/PIL.html#PIL.UnidentifiedImageError",
)
def upload_not_checked(project: Project) -> Iterator[Place]:
    """an upload that is no picture is a 500"""
    caught = {"UnidentifiedImageError", "OSError", "IOError", "Exception", "BaseException", ""}
    for source, call in opened_uploads(project):
        tries = [holder for holder in source.holders(call) if isinstance(holder, ast.Try)]
        kinds = {name for each in tries for handler in each.handlers for name in caught_by(source, handler)}
        if not kinds & caught:
            yield Place(source.path, source.at(call), source.text_of(call))


def caught_by(source: Source, handler: ast.ExceptHandler) -> set[str]:
    if handler.type is None:
        return {""}
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {source.named(kind).rpartition(".")[2] for kind in kinds}
