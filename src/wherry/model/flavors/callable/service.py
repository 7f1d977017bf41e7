"""Python code, run, and what it offers that answers."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar, get_type_hints

import msgspec

from wherry.errors import CodeFailed, ModelUnknown, WherryError
from wherry.model.requirements import obtaining

MODULE = "wherry_callable"  # what the code is called among the modules: dataclasses look themselves up there
HINT = "give it a function predict(rows), or a class with predict(self, X, features_names)"
T = TypeVar("T")


class Service(msgspec.Struct, frozen=True):
    """What a Python file offers. ask: calls it with rows; shares: the same for probabilities, where it has them.

    rows: the annotation of its rows, and answers that of what it returns, Any where it has none; array: whether it is
    a class that is given a matrix. features, meta: whether it wants the columns' names, and request metadata.
    """

    path: Path
    name: str
    ask: Callable[..., Any]
    shares: Callable[..., Any] | None = None
    rows: Any = Any
    answers: Any = Any
    array: bool = False
    features: bool = False
    meta: bool = False
    classes: tuple[str, ...] = ()


def service_of(data: bytes, path: Path) -> Service:
    """Run the code and find what answers. Raises CodeFailed when it raises, ModelUnknown when nothing in it answers."""
    module = guarded(path, lambda: executed(data, path))
    predict = module.__dict__.get("predict")
    if inspect.isfunction(predict):
        return function(module, predict, path)
    found = [
        each
        for each in module.__dict__.values()
        if inspect.isclass(each) and each.__module__ == MODULE and callable(getattr(each, "predict", None))
    ]
    chosen = [each for each in found if each.__name__ == path.stem] or found
    if len(chosen) != 1:
        names = ", ".join(each.__name__ for each in chosen)
        what = f"has several classes with predict ({names})" if chosen else "has nothing that answers"
        hint = f"name the file after the one that answers: {chosen[0].__name__}.py" if chosen else HINT
        raise ModelUnknown(str(path), "this Python file", what, hint)
    return instance(chosen[0], path)


def executed(data: bytes, path: Path) -> ModuleType:
    """The module that the code makes: of these very bytes, which were verified, and of no other file."""
    code: CodeType = compile(data, str(path), "exec", dont_inherit=True)
    module = ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module
    exec(code, module.__dict__)
    return module


def function(module: ModuleType, predict: Callable[..., Any], path: Path) -> Service:
    """`predict(rows)`, or `predict(rows, model)` with what `load()` returned."""
    if inspect.iscoroutinefunction(predict):
        raise ModelUnknown(str(path), "predict", "is async, and a model is asked by a plain call", "write def predict")
    hints = guarded(path, lambda: get_type_hints(predict, include_extras=True))
    names = list(inspect.signature(predict).parameters.values())
    needed = [each for each in names if each.default is each.empty and each.kind in (0, 1)]  # by position
    if not 1 <= len(needed) <= 2:
        what = f"takes {len(needed)} arguments"
        raise ModelUnknown(str(path), "predict", what, "def predict(rows), or def predict(rows, model)")
    load = module.__dict__.get("load")
    if len(needed) == 2 and load is None:
        what = f"takes {needed[1].name}, and there is no load() that returns it"
        raise ModelUnknown(str(path), "predict", what, "add def load(), which returns the model")
    loaded = guarded(path, load) if load is not None else None
    shares = module.__dict__.get("predict_proba")

    def asks(call: Callable[..., Any]) -> Callable[..., Any]:
        return (lambda rows: call(rows, loaded)) if len(needed) == 2 else call

    return Service(
        path,
        path.stem,
        asks(predict),
        asks(shares) if shares is not None else None,
        rows=hints.get(needed[0].name, Any),
        answers=hints.get("return", Any),
    )


def instance(kind: type, path: Path) -> Service:
    """A class as Seldon has them: made without arguments, loaded, asked with a matrix."""
    model = guarded(path, kind)
    load = getattr(model, "load", None)
    if callable(load):
        guarded(path, load)
    names = list(inspect.signature(model.predict).parameters)
    named = getattr(model, "class_names", ())
    classes = guarded(path, named) if callable(named) else named
    return Service(
        path,
        kind.__name__,
        model.predict,
        array=True,
        features=len([name for name in names if name not in ("meta", "kwargs")]) > 1,
        meta="meta" in names,
        classes=tuple(map(str, classes or ())),
    )


def guarded(path: Path, call: Callable[[], T]) -> T:
    """What the user's code returns. Raises CodeFailed, which says where in the file it raised."""
    try:
        return call()
    except WherryError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise failure(path, error) from error


def failure(path: Path, error: Exception) -> CodeFailed:
    """What the code raised, and the last of its own lines that the error passed."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return CodeFailed(path.name, error.lineno or 0, "", f"SyntaxError: {error.msg}")
    place = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    hint = obtaining(error.name) if isinstance(error, ModuleNotFoundError) and error.name else ""
    if not place:
        return CodeFailed(path.name, 0, "", said, hint)
    function = place[-1].name if place[-1].name.isidentifier() else ""  # a module, a comprehension
    return CodeFailed(path.name, place[-1].lineno or 0, function, said, hint)
