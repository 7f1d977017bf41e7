"""A service of several models from the command line: each is asked by its name; and how `serve` begins and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wherry as house
from wherry.cli.doors import PLACE
from wherry.contract.manifest import Measured

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def boats(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two versions of a model: ten times and twenty times a length."""
    linear = pytest.importorskip("sklearn.linear_model", reason="needs scikit-learn")
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    place, sample = tmp_path_factory.mktemp("boats"), pandas.DataFrame({"length": [float(n) for n in range(2, 40)]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wherry.model.measure.measure", lambda folder: Measured(0.1, 100_000_000))
        for version, times in (("1", 10), ("2", 20)):
            prices = (times * sample["length"]).rename("price")
            model = linear.LinearRegression().fit(sample, prices)
            house.pack(model, sample, prices, to=place / version, name="boats", version=version)
    return [place / "1", place / "2"]


@pytest.mark.slow
def test_each_model_of_a_service_is_asked_by_its_name(
    wherry: Wherry, service: Callable[..., Any], linear_bundle: Path, boats: list[Path], tmp_path: Path
) -> None:
    url = service(linear_bundle, *map(str, boats), "--no-store").url
    for words, answer in (
        ((url, "--model", "boats"), 50),
        ((url, "--model", "boats/2"), 100),
        ((f"{url}/models/boats",), 50),
        ((f"{url}/models/boats/versions/2/",), 100),
        ((f"{url}/models/boats/versions/2/predict",), 100),
        ((f"{url}/v2/models/boats/versions/2",), 100),
    ):
        done = wherry("predict", *words, "length=5")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["prediction"] == pytest.approx(answer), words
    (tmp_path / "boats.csv").write_text("length\n5\n7\n")  # whose cells are read by that model's columns
    done = wherry("predict", url, "--model", "boats/2", "boats.csv")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == pytest.approx([100, 140])
    assert wherry("predict", url, "--model", "boats/2", "--check", boats[1]).returncode == 0
    assert wherry("predict", url, "--model", "boats", "--check", boats[1]).returncode == 4
    for model in ("ships", "boats/3"):
        done = wherry("predict", url, "--model", model, "length=5")
        assert done.returncode == 1
        assert f"there is no model {model} here" in done.stderr
        assert "iris/1, boats/1, boats/2" in done.stderr
    done = wherry("predict", f"{url}/models/boats", "--model", "iris", "length=5")
    assert (done.returncode, "names the model boats" in done.stderr) == (2, True)

    for where in ((url, "--model", "boats/2"), (f"{url}/models/boats/versions/2",)):
        done = wherry("stress", *where, "--bundle", boats[1], "--rate", "50", "--count", "20", "--json")
        report = json.loads(done.stdout)
        assert (report["ok"], report["failed"]) == (20, 0), done.stderr
    done = wherry("stress", url, "--model", "boats", "--bundle", boats[1], "--rate", "50", "--count", "5", "--json")
    assert json.loads(done.stdout)["ok"] == 0
    done = wherry("stress", url, "--model", "boats/2")
    assert (done.returncode, "no rows to ask boats/2 about" in done.stderr) == (2, True)


def test_an_only_model_answers_to_its_name(
    wherry: Wherry, service: Callable[..., Any], boats: list[Path], tmp_path: Path
) -> None:
    url = service(boats[1], "--no-store").url
    for words in ((url, "--model", "boats/2"), (f"{url}/models/boats",)):
        assert json.loads(wherry("predict", *words, "length=5").stdout)["prediction"] == pytest.approx(100)
    done = wherry("predict", url, "--model", "boats/1", "length=5")
    assert done.returncode == 1
    assert "there is no model boats/1 here\nhint: leave --model out: boats/2 is all there is" in done.stderr
    done = wherry("predict", "--model", "boats", boats[0], "length=5")
    assert (done.returncode, "a bundle is one model" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/models/boats", ("", "boats", None)),
        ("/below/models/boats/versions/2/predict", ("/below", "boats", "2")),
        ("/v1/models/boats", ("", "boats", None)),
        ("/v1/models/boats:predict", None),
        ("/v2/models/boats/infer", None),
        ("/predict", None),
        ("/models", None),
    ],
)
def test_which_addresses_name_a_model(path: str, parts: tuple[str | None, ...] | None) -> None:
    found = PLACE.fullmatch(path)
    assert (found and found.group("below", "name", "version")) == parts


def test_serve_tells_a_program_where_it_answers(
    boats: list[Path], free_ports: Callable[[int], list[int]], environ: dict[str, str], tmp_path: Path
) -> None:
    port, admin = map(str, free_ports(2))
    words = ["serve", "--json", *map(str, boats), "--no-store", "--port", port, "--admin-port", admin]
    with subprocess.Popen(
        [sys.executable, "-m", "wherry", *words], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert (told["address"], told["admin"]) == (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}")
        assert told["pid"] == process.pid
        assert [(each["name"], each["version"]) for each in told["models"]] == [("boats", "1"), ("boats", "2")]
        assert all(len(each["digest"]) == 64 for each in told["models"])
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.wait() == 0


@pytest.fixture
def environ() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")}


@pytest.mark.parametrize(("begin", "quiet"), [("-mwherry", True), ("-cimport wherry.cli.main", False)])
def test_ctrl_c_is_quiet_from_the_first_moment(
    begin: str, quiet: bool, environ: dict[str, str], tmp_path: Path
) -> None:
    """It comes while the first library is loaded; what begins elsewhere shows a traceback, as Python does."""
    (tmp_path / "click.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    done = subprocess.run(
        [sys.executable, begin, "serve"],
        env={**environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("Traceback" in done.stderr) is not quiet
    if quiet:
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
