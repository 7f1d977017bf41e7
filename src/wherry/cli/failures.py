"""From an error to what the terminal shows and the exit code that scripts rely on."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from wherry import errors
from wherry.cli import faults

FAILED, USAGE, LOCKED, NO, INTERRUPTED = 1, 2, 3, 4, 130

# The first class that fits decides; what is not listed has failed.
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.UsageRefused, USAGE),
    (errors.ContextUnclear, USAGE),
    (errors.ContextMissing, USAGE),
    (errors.NamespaceMissing, USAGE),
    (errors.NameUnclear, USAGE),
    (errors.LockHeld, LOCKED),
    (errors.TooVulnerable, NO),
    (errors.CanaryAborted, NO),
    (click.UsageError, USAGE),
    (click.exceptions.Abort, INTERRUPTED),
    (KeyboardInterrupt, INTERRUPTED),
)


# The extra that has a library, for those that are needed before anybody could say what for.
EXTRAS = {
    **dict.fromkeys(("joblib", "onnx", "pandas", "scipy", "skl2onnx", "sklearn", "skops"), "sklearn"),
    "onnxruntime": "onnx",
    "PIL": "image",
    "pyarrow": "parquet",
}


def exit_code(error: BaseException) -> int:
    """What the process answers to `error`."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), FAILED)


def settle(error: BaseException, words: Sequence[str]) -> int:
    """Show `error` in the way that the command line `words` asked for, and give its exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone: nothing to say, and the interpreter must not try to say more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    error = lacking(error)
    code = exit_code(error)
    if "--json" in words:
        sys.stdout.write(json.dumps(document(error), default=str) + "\n")
        sys.stdout.flush()
    elif code == INTERRUPTED:
        sys.stderr.write("interrupted\n")
    else:
        sentence, hint = sentence_of(error)
        sys.stderr.write(f"{paint('error:', '1;31')} {sentence}\n")
        if hint:
            sys.stderr.write(f"{paint('hint:', '36')} {hint}\n")
    if verbosity(words) >= 2:
        traceback.print_exception(error)
    return code


def lacking(error: BaseException) -> BaseException:
    """A library of ours that is not installed, as the error that names what to install; any other as it is."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name not in EXTRAS:
        return error
    named = errors.ExtraMissing(name, EXTRAS[name], "this")
    named.__cause__ = error
    return named


def sentence_of(error: BaseException) -> tuple[str, str]:
    """What went wrong, and the next thing to type."""
    if isinstance(error, errors.FieldsRefused):
        return faults.told(error.problems, error.rows, error.table)
    if isinstance(error, errors.SettingsRefused) and len(error.problems) > 1:
        lines = [f"{one.path} {one.reason}" + (f" ({one.hint})" if one.hint else "") for one in error.problems]
        return "\n  ".join([f"{error.source}: {len(lines)} settings cannot be taken", *lines]), error.hint
    if isinstance(error, errors.FileMissing) and not error.hint:
        return str(error), nearby(Path(error.path))
    if isinstance(error, errors.WherryError):
        return str(error), error.hint
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "wherry"
        return usage_sentence(error), f"{path} --help"
    if isinstance(error, click.ClickException):
        return error.format_message(), ""
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno == errno.ENOSPC:
            return f"no space left on the disk{f' that holds {error.filename}' if error.filename else ''}", "df -h"
        return f"{where}{(error.strerror or str(error)).lower()}", ""
    kind = type(error).__name__
    return f"wherry itself failed: {kind}: {error}", "run it again with -vv to see where, and report that"


def nearby(path: Path) -> str:
    """What to type about a file that is not there: the one that was meant, else how to see which are."""
    import difflib

    if path.is_symlink():
        return f"it is a link to {path.readlink()}, which is not there"

    there = sorted(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.6)
    return f"did you mean {path.parent / near[0]}?" if near else f"ls {path.parent}"


def usage_sentence(error: click.UsageError) -> str:
    """Click's message in our voice: no capital, no full stop, the suggestion behind it."""
    text = error.format_message().strip().rstrip(".")
    text = re.sub(r"^(No|Got|Missing|Invalid|Option|Argument|Did)\b", lambda found: found[0].lower(), text)
    return text.replace(". Did you mean", "; did you mean").replace(" Did you mean", "; did you mean")


def document(error: BaseException) -> dict[str, Any]:
    """The same for --json: {"error": {"kind", "message", "hint", and the facts that the error holds}}."""
    message, hint = sentence_of(error) if exit_code(error) != INTERRUPTED else ("interrupted", "")
    facts = {key: plain(value) for key, value in vars(error).items() if simple(value) and key not in ("hint", "ctx")}
    body = {"kind": type(error).__name__, "message": message, "hint": hint, **facts}
    outcome = {"outcome": error.outcome} if isinstance(error, errors.ClusterFailed) else {}
    return {"error": body, **outcome}


def simple(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float, bool, tuple, list, dict))


def plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value, enc_hook=str)


def verbosity(words: Sequence[str]) -> int:
    """How often `words` say -v."""
    short = sum(word.count("v") for word in words if re.fullmatch(r"-[qv]+", word))
    return short + sum(word == "--verbose" for word in words)


def paint(text: str, code: str) -> str:
    """`text` in a terminal's colour, where standard error is a terminal that may have colours."""
    plain_text = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not sys.stderr.isatty()
    return text if plain_text else f"\x1b[{code}m{text}\x1b[0m"
