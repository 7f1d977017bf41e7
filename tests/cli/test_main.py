"""The command itself: its help, its speed, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import click
import pytest

from wherry import errors
from wherry.cli import failures, main
from wherry.cli.main import VERBS

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]
HEAVY = ("rich", "numpy", "msgspec", "pandas", "sklearn", "onnxruntime", "kubernetes", "sqlalchemy", "yaml", "asyncio")


def test_help_lists_every_verb_under_its_section(wherry: Wherry) -> None:
    shown = wherry("--help")
    assert shown.returncode == 0
    for name, entry in VERBS.items():
        assert f"  {name} " in shown.stdout
        assert entry.help in shown.stdout
        assert f"{entry.section}:" in shown.stdout


def test_every_verb_can_be_imported_and_has_help_and_an_example(wherry: Wherry) -> None:
    context = click.Context(main.wherry)
    for name in VERBS:
        verb = main.wherry.get_command(context, name)
        assert verb is not None and verb.name == name
        assert verb.help
        assert getattr(verb, "examples", ()), f"{name} has no example"
        for example in verb.examples:
            assert f"wherry {name}" in example


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom wherry.cli.main import run\nassert run(['--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def best_of_five(*command: str) -> float:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run([sys.executable, *command], capture_output=True, check=True)
        times.append(time.perf_counter() - begun)
    return min(times)


def test_help_starts_in_under_150_milliseconds() -> None:
    ours = clicks = 9.0
    for _ in range(5):  # what is slow stays slow; a machine that is busy has quieter moments
        ours = min(ours, best_of_five("-m", "wherry", "--help"))
        clicks = min(clicks, best_of_five("-c", "import click"))
        if ours < 2 * clicks + 0.03 and ours < 0.15:
            break
    print(f"wherry --help {ours * 1000:.0f} ms, import click {clicks * 1000:.0f} ms")
    # The ratio is what we answer for; the limit is what we promise on a machine that is not slower than most.
    assert ours < 2 * clicks + 0.03
    assert ours < 0.15 or clicks > 0.1


def test_no_verb_prints_the_help(wherry: Wherry) -> None:
    assert wherry().stdout == wherry("-h").stdout


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(wherry: Wherry, flag: str) -> None:
    from wherry import __version__

    assert wherry(flag).stdout == f"wherry {__version__}\n"


def test_an_unknown_verb_is_refused_with_the_nearest(wherry: Wherry) -> None:
    done = wherry("depoy")
    assert done.returncode == 2
    assert done.stderr == "error: no such verb: depoy; did you mean deploy?\nhint: wherry --help\n"


def test_an_unknown_flag_is_refused_with_the_verbs_help(wherry: Wherry) -> None:
    done = wherry("config", "--evn")
    assert done.returncode == 2
    assert "--evn" in done.stderr and "--env" in done.stderr
    assert "hint: wherry config --help" in done.stderr


def test_common_flags_may_stand_before_the_verb(wherry: Wherry) -> None:
    assert wherry("--json", "config").stdout == wherry("config", "--json").stdout
    assert wherry("-q", "config").stdout == wherry("config", "-q").stdout != wherry("config").stdout


def test_a_usage_error_as_json_is_one_line(wherry: Wherry) -> None:
    done = wherry("config", "--json", "--nonsense")
    assert done.returncode == 2
    assert done.stderr == ""
    error = json.loads(done.stdout)["error"]
    assert "--nonsense" in error["message"]
    assert error["hint"] == "wherry config --help"
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.WherryError("no"), 1),
        (errors.UsageRefused("no"), 2),
        (errors.BundleMissing("x"), 2),
        (errors.LockHeld("held"), 3),
        (errors.DiskFull("/x"), 1),
        (click.UsageError("no"), 2),
        (KeyboardInterrupt(), 130),
        (click.exceptions.Abort(), 130),
        (RuntimeError("a mistake of ours"), 1),
    ],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.settle(error, []) == code
    assert "Traceback" not in capsys.readouterr().err


def test_json_holds_the_facts_of_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    failures.settle(errors.BundleDamaged("model.npz", expected="aa", found="bb"), ["--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["kind"] == "BundleDamaged"
    assert (document["error"]["path"], document["error"]["expected"], document["error"]["found"]) == (
        "model.npz",
        "aa",
        "bb",
    )


def test_our_own_mistake_is_one_line_until_asked_twice(capsys: pytest.CaptureFixture[str]) -> None:
    mistake = KeyError("surprise")
    failures.settle(mistake, ["-v"])
    once = capsys.readouterr().err
    assert "wherry itself failed: KeyError" in once and "-vv" in once and "Traceback" not in once
    try:
        raise mistake
    except KeyError as raised:
        failures.settle(raised, ["serve", "-vv"])
    assert "Traceback" in capsys.readouterr().err


def test_a_library_that_is_not_installed_is_named_with_its_extra(capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.settle(ModuleNotFoundError("No module named 'sklearn.base'", name="sklearn.base"), []) == 2
    said = capsys.readouterr().err
    assert "this needs sklearn, which is not installed" in said
    assert "pip install 'wherry[sklearn]'" in said
    assert failures.settle(ModuleNotFoundError("No module named 'wherry.nothing'", name="wherry.nothing"), []) == 1
    assert "wherry itself failed" in capsys.readouterr().err


def test_a_full_disk_anywhere_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert failures.settle(OSError(28, "No space left on device", "bundle/model.npz"), []) == 1
    assert "no space left on the disk that holds bundle/model.npz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "level"), [([], 0), (["-v"], 1), (["-vv"], 2), (["-v", "-v"], 2), (["-qv"], 1), (["--verbose"], 1)]
)
def test_verbosity(words: list[str], level: int) -> None:
    assert failures.verbosity(words) == level


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as sink:
        done = subprocess.run(
            [sys.executable, "-m", "wherry", "config", "--json"],
            stdout=sink,
            stderr=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith("WHERRY_")},
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(wherry: Wherry, shell: str) -> None:
    done = wherry("completion", shell)
    assert done.returncode == 0
    assert "_WHERRY_COMPLETE" in done.stdout


def test_completion_offers_verbs_without_loading_them(wherry: Wherry) -> None:
    done = wherry(_WHERRY_COMPLETE="bash_complete", COMP_WORDS="wherry st", COMP_CWORD="1")
    assert done.stdout == "plain,stress\nplain,status\n"
