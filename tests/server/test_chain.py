"""A chain of models: one call of each step for all rows, its time counted, its failures named, its seams checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from msgspec.structs import replace
from serving import Child, ask, child, counted, metrics, until

from wherry.contract.chains import chained, joins, steps_of
from wherry.contract.manifest import Manifest, Measured
from wherry.contract.project import Chain, Project, Serve
from wherry.contract.settings import resolve
from wherry.contract.signature import Column, OutputSpec
from wherry.errors import ChainRefused, ModelFailed, SettingsRefused
from wherry.model.pack import pack_file
from wherry.server.chain import LoadedChain
from wherry.server.loading import Loaded, beside

SCALE = """
    from typing import TypedDict

    class Point(TypedDict):
        x: float
        y: float

    def predict(rows: list[Point]) -> list[tuple[float, float]]:
        if any(row["x"] == 13 for row in rows):
            raise ValueError("thirteen")
        return [(row["x"] / 10, row["y"] / 10) for row in rows]
"""
MODEL = """
    def predict(rows: list[tuple[float, float]]) -> list[float]:
        return [1 / (x - 2 * y) if x < 1e300 else x * 100 for x, y in rows]
"""
LABEL = """
    def predict(rows: list[float]) -> list[str]:
        return ["high" if x > 1 else "low" for x in rows]
"""
STEPS = ("scale", "model", "label")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("chain")
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wherry.model.measure.measure", lambda folder: Measured(0.1, 100_000_000))
        for name, code in zip(STEPS, (SCALE, MODEL, LABEL), strict=True):
            (place / f"{name}.py").write_text(dedent(code))
            made.append(place / "bundles" / name)
            pack_file(place / f"{name}.py", data=None, target=None, trust=True, to=made[-1], name=name)
    return made


@pytest.fixture(scope="module")
def manifests(folders: list[Path]) -> list[Manifest]:
    return [Loaded(folder).manifest for folder in folders]


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two workers"])
def service(request: pytest.FixtureRequest, folders: list[Path]) -> Iterator[Child]:
    environ = {
        "WHERRY_SERVE_BUNDLES": ",".join(map(str, folders[1:])),
        "WHERRY_SERVE_CHAIN_STEPS": ",".join(STEPS),
        "WHERRY_SERVE_CHAIN_NAME": "all",
        "WHERRY_SERVE_WORKERS": request.param,
    }
    with child(folders[0], **environ) as running:
        yield running


def asked(service: Child, body: Any) -> Any:
    return ask(service.address, "POST", "/models/all/predict", body)


def test_it_takes_what_the_first_takes_and_answers_what_the_last_answers(service: Child) -> None:
    assert asked(service, {"x": 25, "y": 10}).json == {"prediction": "high"}
    assert asked(service, [{"x": 25, "y": 10}, {"x": 50, "y": 1}]).json == {"predictions": ["high", "low"]}
    assert asked(service, {"x": 5}).json["errors"][0]["field"] == "y"
    cells = (("x", 25), ("y", 10))
    inputs = [{"name": name, "shape": [1, 1], "datatype": "FP64", "data": [cell]} for name, cell in cells]
    found = ask(service.address, "POST", "/v2/models/all/versions/1/infer", {"inputs": inputs}).json
    assert (found["model_name"], found["outputs"][0]["data"]) == ("all", ["high"])


def test_each_of_its_steps_is_a_model_still(service: Child) -> None:
    assert ask(service.address, "POST", "/models/label/predict", {"x0": 2}).json == {"prediction": "high"}
    assert ask(service.address, "POST", "/predict", {"x": 5, "y": 1}).json == {"prediction": [0.5, 0.1]}


@pytest.mark.parametrize(("row", "step"), [({"x": 13, "y": 1}, "scale"), ({"x": 10, "y": 5}, "model")])
def test_a_failure_names_its_step_and_its_row(service: Child, row: dict[str, float], step: str) -> None:
    failed = asked(service, [{"x": 25, "y": 10}, row])
    assert failed.status == 500
    assert failed.json["detail"] == f"the model raised an error at its step {step}"
    assert [each["row"] for each in failed.json["errors"]] == [1]
    assert "thirteen" not in failed.body.decode()


def test_each_row_at_fault_has_a_reason_of_its_own(service: Child) -> None:
    failed = asked(service, [{"x": 25, "y": 10}, {"x": 10, "y": 5}, {"x": 1e308, "y": -1e308}])
    assert (failed.status, [each["row"] for each in failed.json["errors"]]) == (500, [1, 2])
    reasons = [each["reason"] for each in failed.json["errors"]]
    assert reasons == [f"the model {what} at its step model" for what in ("raised an error", "has no finite answer")]
    assert failed.json["detail"] == " or ".join((reasons[0], reasons[1].removeprefix("the model ")))


def test_each_step_is_measured_and_asked_once_for_all_rows(service: Child) -> None:
    before = metrics(service)
    assert asked(service, [{"x": 25, "y": 10}] * 40).status == 200

    def calls(text: str, step: str) -> float:
        return counted(text, "wherry_step_seconds_count", step=step, model="all")

    until(lambda: calls(metrics(service), "label") > calls(before, "label"))
    after = metrics(service)
    assert [calls(after, step) - calls(before, step) for step in STEPS] == [1, 1, 1]
    assert counted(after, "wherry_rows_total", model="all") - counted(before, "wherry_rows_total", model="all") == 40
    assert counted(after, "wherry_rows_total", model="model") == counted(before, "wherry_rows_total", model="model")


def project(folders: list[Path], steps: tuple[str, ...] = STEPS) -> Project:
    return Project(serve=Serve(bundles=tuple(map(str, folders[1:])), chain=Chain(steps=steps)))


def test_the_steps_tell_which_of_them_failed(folders: list[Path]) -> None:
    chain = beside(Loaded(folders[0]), project(folders)).others[-1]
    assert isinstance(chain, LoadedChain)
    assert chain.steps.score([(25.0, 10.0)]).predictions == ["high"]
    with pytest.raises(ModelFailed) as failed:
        chain.steps.score([(25.0, 10.0), (10.0, 5.0)])
    assert (failed.value.step, failed.value.rows) == ("model", (1,))


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        (("scale", "label"), r"scale answers 2 numbers a row, and label takes x0 \(number\)"),
        (("label", "model"), r"label answers 1 string a row, and model takes x0 \(number\), x1 \(number\)"),
        (("scale", "modle"), "its step modle is no model of this service"),
    ],
)
def test_steps_that_do_not_fit_are_refused_before_anything_is_served(
    folders: list[Path], manifests: list[Manifest], steps: tuple[str, ...], why: str
) -> None:
    with pytest.raises(ChainRefused, match=why):
        beside(Loaded(folders[0]), project(folders, steps))
    chain = Chain(steps=steps)
    with pytest.raises(ChainRefused, match=why):
        joins(chain, [manifests[place] for place in steps_of(chain, manifests)])


def test_a_value_that_the_next_step_does_not_take_is_told(manifests: list[Manifest]) -> None:
    label, taking = manifests[2], manifests[1]
    output = OutputSpec("class", "string", ("cheap", "dear"))
    one = replace(label, signature=replace(label.signature, output=output))
    chain = Chain(steps=("one", "other"))

    def other(*categories: str) -> Manifest:
        columns = (Column("price", "string", categories=categories, unknown_ok=False),)
        return replace(taking, signature=replace(taking.signature, columns=columns))

    with pytest.raises(ChainRefused, match="one may answer 'dear', and other takes price as one of 'cheap', 'costly'"):
        joins(chain, [one, other("cheap", "costly")])
    assert joins(chain, [one, other("cheap", "dear")])


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"name": "stall"}, "serve.chain.steps names none for the chain stall"),
        ({"steps": ["a"], "name": "a/b"}, "serve.chain.name is 'a/b', which a path cannot hold"),
        ({"steps": ["a"], "version": "1 2"}, "serve.chain.version is '1 2', which a path cannot hold"),
    ],
)
def test_a_chain_that_cannot_be_asked_is_refused(table: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        resolve({"serve": {"chain": table}}, {}, {})
    assert why in str(refused.value)


def test_its_digest_is_that_of_its_steps(manifests: list[Manifest]) -> None:
    chain = Chain(steps=STEPS)
    whole = chained(chain, manifests)
    assert whole == chained(chain, manifests)
    assert whole.digest != chained(chain, manifests[:2]).digest
    assert whole.signature.names == ("x", "y")
    assert whole.signature.output.type == "string"
