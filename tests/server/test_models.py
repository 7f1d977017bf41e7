"""Several bundles in one service, by name and version: each asked at its own doors, proven, counted and kept."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from serving import EXAMPLE, NAMES, Child, Linearly, ask, child, counted, linear_bundle, manifest_of, metrics, until

from wherry.contract.events import silent
from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import Requirements
from wherry.contract.project import Project, Serve
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.errors import BundleDamaged, BundlesClash, GoldenDiffers
from wherry.model import bundle
from wherry.model.bundle import gather
from wherry.model.flavors.linear import Form, Linear
from wherry.release.image import plan
from wherry.server.batching import Batcher, BesideOthers
from wherry.server.journal import NoJournal
from wherry.server.loading import Loaded, Proof, beside
from wherry.server.metrics import Metrics
from wherry.server.predictor import Cost
from wherry.server.protocol import Exchange
from wherry.server.service import Service
from wherry.server.several import Journals, Together

LENGTHS = (2.0, 5.0, 11.0)


def boats(folder: Path, version: str, weight: float, *, honest: bool = True) -> Path:
    """A bundle that answers `weight` times a length."""
    model = Linear(
        form=Form("number", "none", (), (0,), ()),
        weights=np.array([[weight]]),
        bias=np.array([0.0]),
        center=np.zeros(1),
        low=np.full(1, -np.inf),
        high=np.full(1, np.inf),
        missing=np.full((1, 1), np.nan),
        table=np.zeros((0, 1)),
    )
    said = tuple(weight * length + (not honest) for length in LENGTHS)
    signature = Signature(
        (Column("length", "number", low=1.0, high=20.0, example=5.0),), OutputSpec("number", "number")
    )
    rows = GoldenRows(("length",), tuple((length,) for length in LENGTHS), said)
    files = {
        "model.npz": model.dump(),
        "golden.json": msgspec.json.encode(rows),
        "baseline.json": b"{}",
        "example.json": json.dumps({"length": 5.0}).encode(),
    }
    manifest = manifest_of(signature, rows=len(LENGTHS), name="boats")
    bundle.write(folder, msgspec.structs.replace(manifest, version=version), files)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("models")
    return [linear_bundle(place / "breast"), boats(place / "one", "1", 10.0), boats(place / "two", "2", 20.0)]


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two workers"])
def service(request: pytest.FixtureRequest, folders: list[Path]) -> Iterator[Child]:
    further = ",".join(map(str, folders[1:]))
    with child(folders[0], WHERRY_SERVE_BUNDLES=further, WHERRY_SERVE_WORKERS=request.param) as running:
        yield running


def test_what_names_no_model_is_the_first_ones(service: Child) -> None:
    reply = ask(service.address, "POST", "/predict", EXAMPLE)
    assert reply.json == {"prediction": 1}
    assert ask(service.address, "POST", "/invocations", {"instances": [list(EXAMPLE.values())]}).json == {
        "predictions": [1]
    }
    assert ask(service.address, "GET", "/info").json["name"] == "breast"


@pytest.mark.parametrize(
    ("path", "answer", "version"),
    [
        ("/models/boats/predict", 50.0, "1"),
        ("/models/boats/versions/1/predict", 50.0, "1"),
        ("/models/boats/versions/2/predict", 100.0, "2"),
    ],
)
def test_each_version_answers_at_its_own_path(service: Child, path: str, answer: float, version: str) -> None:
    for reply in (
        ask(service.address, "POST", path, {"length": 5}),
        ask(service.address, "GET", f"{path}?length=5"),
        ask(service.address, "POST", path, b"length\n5\n", {"Content-Type": "text/csv"}),
    ):
        assert reply.status == 200
        assert reply.json in ({"prediction": answer}, {"predictions": [answer]})
        assert reply.headers["x-model-version"] == version


def test_a_refusal_is_of_the_model_that_was_asked(service: Child) -> None:
    reply = ask(service.address, "POST", "/models/boats/versions/2/predict", {"lenght": 5})
    assert reply.status == 422
    assert reply.headers["x-model-version"] == "2"
    assert "did you mean length?" in reply.json["errors"][1]["hint"]
    assert "/models/boats/versions/2/predict" in reply.json["curl"]
    assert ask(service.address, "POST", "/predict", {"length": 5}).json["errors"][0]["field"] == NAMES[0]


def test_what_is_not_there_is_a_404_that_lists_what_is(service: Child) -> None:
    for path in ("/models/ships/predict", "/v2/models/boats/versions/3/infer", "/v1/models/ships:predict"):
        reply = ask(service.address, "POST", path, {"length": 5})
        assert reply.status == 404
        assert "the models are breast 1; boats 1, 2" in reply.json["hint"]
        assert "x-model-version" not in reply.headers
    for path in ("/models", "/models/boats"):
        reply = ask(service.address, "POST", path, {"length": 5})
        assert reply.status == 405
        assert "asked at /models/NAME/predict; the models are breast 1; boats 1, 2" in reply.json["hint"]


def test_what_asks_for_a_model_that_is_not_there_is_counted_under_none(service: Child) -> None:
    def refused(text: str, **labels: str) -> float:
        return counted(text, "wherry_requests_total", status="404", **labels)

    before = metrics(service)
    asked = 3
    for _ in range(asked):
        ask(service.address, "POST", "/models/ships/predict", {"length": 5})
    ask(service.address, "GET", "/nowhere")  # names no model: the first is the service
    until(lambda: refused(metrics(service)) - refused(before) == asked + 1)
    after = metrics(service)
    assert refused(after, model="breast") - refused(before, model="breast") == 1
    assert refused(after, model="boats") == refused(before, model="boats")


def test_the_lists_of_models(service: Child, folders: list[Path]) -> None:
    held = ask(service.address, "GET", "/models").json["models"]
    assert [(each["name"], each["version"]) for each in held] == [("breast", "1"), ("boats", "1"), ("boats", "2")]
    assert held == ask(service.address, "GET", "/info").json["models"]
    assert held[2]["digest"] == bundle.verify(folders[2]).digest
    assert ask(service.address, "POST", held[2]["predict"], {"length": 5}).json == {"prediction": 100.0}
    about = ask(service.address, "GET", "/models/boats/versions/2").json
    assert [column["name"] for column in about["columns"]] == ["length"]
    assert ask(service.address, "GET", "/v1/models").json == {"models": ["breast", "boats"]}
    assert ask(service.address, "GET", "/v1/models/boats").json == {"name": "boats", "ready": True}
    for path, answer in (("boats", 50.0), ("boats/versions/1", 50.0), ("boats/versions/2", 100.0)):
        asked = ask(service.address, "POST", f"/v1/models/{path}:predict", {"instances": [[5]]})
        assert asked.json == {"predictions": [answer]}
    assert ask(service.address, "GET", "/v1/models/boats/versions/3").status == 404


def test_every_example_that_the_document_has_of_each_model_is_answered(service: Child) -> None:
    document = ask(service.address, "GET", "/openapi.json").json
    named = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert named == document["components"]["schemas"].keys()
    ids = [
        each["operationId"] for item in document["paths"].values() for each in item.values() if "operationId" in each
    ]
    assert len(ids) == len(set(ids))
    models = ask(service.address, "GET", "/models").json["models"]
    held = {each["digest"]: f"{each['name']} {each['version']}" for each in models}
    tried = set()
    for path, item in document["paths"].items():
        tags = tuple(item.get("post", {}).get("tags", ()))
        for media, content in item.get("post", {}).get("requestBody", {}).get("content", {}).items():
            for example in content.get("examples", {}).values() if tags else ():
                value = example["value"]
                reply = ask(
                    service.address,
                    "POST",
                    path,
                    value.encode() if media == "text/csv" else json.dumps(value).encode(),
                    {"Content-Type": media},
                )
                assert reply.status == 200, (path, reply.body)
                assert tags == (held[reply.headers["x-model-digest"]],)
                tried.add(path)
    assert {
        *("/predict", "/invocations", "/models/boats/predict", "/models/boats/versions/2/predict"),
        *("/v1/models/boats:predict", "/v1/models/boats/versions/2:predict", "/v2/models/boats/versions/2/infer"),
    } <= tried


def test_the_official_client_finds_each_by_name_and_version(service: Child) -> None:
    http = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    client = http.InferenceServerClient(f"{service.address[0]}:{service.address[1]}")
    index = client.get_model_repository_index()
    assert [(each["name"], each["version"], each["state"]) for each in index][1:] == [
        ("boats", "1", "READY"),
        ("boats", "2", "READY"),
    ]
    assert client.get_model_metadata("boats")["versions"] == ["1", "2"]
    assert client.is_model_ready("boats", "2")
    assert not client.is_model_ready("boats", "3")
    tensor = http.InferInput("length", [2, 1], "FP64")
    tensor.set_data_from_numpy(np.array([[5.0], [2.0]]))
    for version, expected in (("", [50.0, 20.0]), ("1", [50.0, 20.0]), ("2", [100.0, 40.0])):
        found = client.infer("boats", [tensor], model_version=version)
        assert found.as_numpy("predict").ravel().tolist() == expected
        assert found.get_response()["model_version"] == (version or "1")
    rows = http.InferInput("rows", [1, 6], "FP64")
    rows.set_data_from_numpy(np.array([list(EXAMPLE.values())]))
    assert client.infer("breast", [rows]).as_numpy("predict").tolist() == [[1]]
    client.close()


def test_counts_are_told_apart_by_model(service: Child) -> None:
    rows, outside, which = "wherry_rows_total", "wherry_values_out_of_range_total", {"model": "boats", "version": "2"}
    before = metrics(service)
    for _ in range(3):
        ask(service.address, "POST", "/models/boats/versions/2/predict", [{"length": 5}, {"length": 100}])
    # a worker looks for what is out of range four times a second
    until(lambda: counted(metrics(service), outside, **which) - counted(before, outside, **which) >= 3)
    after = metrics(service)
    for name, labels, more in (
        (rows, which, 6),
        (rows, {"model": "boats", "version": "1"}, 0),
        (rows, {"model": "breast"}, 0),
        (outside, which, 3),
        ("wherry_requests_total", {"model": "boats", "door": "native", "status": "200"}, 3),
    ):
        assert counted(after, name, **labels) - counted(before, name, **labels) == more
    assert counted(after, "wherry_model_info") == 3
    assert not re.search(r"^wherry_rows_total \d", after, re.MULTILINE)


def test_predictions_are_kept_with_their_models_name_and_version(folders: list[Path], tmp_path: Path) -> None:
    environ = {
        "WHERRY_SERVE_BUNDLES": ",".join(map(str, folders[1:])),
        "WHERRY_STORE_ENABLED": "true",
        "WHERRY_STORE_URL": f"sqlite:///{tmp_path}/kept.db",
    }
    tensor = {"name": "length", "shape": [1, 1], "datatype": "FP64", "data": [5.0]}
    with child(folders[0], **environ) as service:
        ask(service.address, "POST", "/predict", EXAMPLE)
        ask(service.address, "POST", "/models/boats/versions/2/predict", [{"length": 5}, {"length": 2}])
        ask(service.address, "POST", "/v2/models/boats/infer", {"inputs": [tensor]})

        def kept() -> list[tuple[str, str]]:
            records = ask(service.address, "GET", "/history").json.get("predictions", [])
            return sorted((record["model"], record["version"]) for record in records)

        every = [("boats", "1"), ("boats", "2"), ("boats", "2"), ("breast", "1")]
        until(lambda: kept() == every, what=lambda: service.said)


def test_two_of_one_name_and_version_are_refused(folders: list[Path], tmp_path: Path) -> None:
    same = boats(tmp_path / "same", "1", 3.0)
    project = Project(serve=Serve(bundles=(str(folders[1]), str(same))))
    with pytest.raises(BundlesClash, match="both hold boats 1"):
        beside(Loaded(folders[0]), project)
    with pytest.raises(BundlesClash, match="is named twice"):
        beside(Loaded(folders[0]), Project(serve=Serve(bundles=(str(folders[0]),))))


def test_each_is_verified_and_proven_before_the_service_is_ready(folders: list[Path], tmp_path: Path) -> None:
    damaged = boats(tmp_path / "damaged", "1", 3.0)
    (damaged / "model.npz").write_bytes(b"no more")
    with pytest.raises(BundleDamaged):
        beside(Loaded(folders[0]), Project(serve=Serve(bundles=(str(damaged),))))
    other = boats(tmp_path / "other", "1", 3.0, honest=False)
    loaded = beside(Loaded(folders[0]), Project(serve=Serve(bundles=(str(other),))))
    with pytest.raises(GoldenDiffers):
        loaded.prove()


def test_one_bundle_alone_has_no_doors_of_several(folders: list[Path]) -> None:
    with child(folders[0]) as service:
        for path in ("/models", "/models/breast/predict"):
            assert ask(service.address, "POST", path, EXAMPLE).status == 404
        assert "models" not in ask(service.address, "GET", "/info").json
        assert "model=" not in metrics(service).replace("wherry_model_info", "")


def test_what_waits_for_one_model_leaves_the_others_less_room() -> None:
    loop, together = asyncio.new_event_loop(), Together()
    try:
        for place in range(2):
            batcher = BesideOthers(together.taken_beside(place), Linearly(), list, loop, Cost(0.0, 0.01))
            together.parts.append(SimpleNamespace(batcher=batcher, pictures=None))
        first, second = (part.batcher for part in together.parts)
        alone = Batcher(Linearly(), list, loop, Cost(0.0, 0.01)).queue_rows
        assert first.queue_rows == second.queue_rows == alone
        first.waiting_rows = alone // 2
        assert first.queue_rows == alone
        assert second.queue_rows == alone - alone // 2
        first.waiting_rows = alone
        assert second.full
    finally:
        loop.close()


def test_each_model_has_the_short_way_of_its_own_and_each_path_is_listed(folders: list[Path]) -> None:
    loaded = beside(Loaded(folders[0]), Project(serve=Serve(bundles=tuple(map(str, folders[1:])))))
    proof = loaded.prove(Cost(1e-6, 1e-7), [Proof(0, Cost(1e-6, 1e-7), 0.0)] * 2)
    loop = asyncio.new_event_loop()
    try:
        service = Service(loaded, proof, Project(), Journals([NoJournal()] * 3), None, Metrics(), "", silent)
        app, _ = service.compose(loop)
        listed = msgspec.json.decode(app.about.openapi().body)["paths"]
        assert {path.decode() for path in app.routes} - listed.keys() <= {"/", "/docs", "/openapi.json"}
        for path, short in (
            (b"/predict", True),
            (b"/models/breast/predict", True),
            (b"/models/boats/predict", True),
            (b"/models/boats/versions/2/predict", True),
            (b"/models/boats/versions/3/predict", False),
        ):
            head = {b"host": b"127.0.0.1", b"content-type": b"application/json"}
            asked = Exchange(connection=None, started=0.0, method=b"POST", url=path, headers=head)
            assert (app.way(asked).receive != app.receive) is short, path
    finally:
        loop.close()


def test_gathered_in_one_folder_they_are_served_from_it(folders: list[Path], tmp_path: Path) -> None:
    whole = gather(tmp_path / "whole", folders[0], folders[1:])
    assert whole.digest == bundle.verify(tmp_path / "whole").digest
    with child(tmp_path / "whole") as service:
        held = ask(service.address, "GET", "/models").json["models"]
        assert [(each["name"], each["version"]) for each in held] == [("breast", "1"), ("boats", "1"), ("boats", "2")]
        reply = ask(service.address, "POST", "/predict", EXAMPLE)
        assert reply.json == {"prediction": 1}
        assert reply.headers["x-model-digest"] == whole.digest
        reply = ask(service.address, "POST", "/models/boats/versions/2/predict", {"length": 5})
        assert reply.json == {"prediction": 100.0}
        assert reply.headers["x-model-digest"] == bundle.verify(folders[2]).digest
    (tmp_path / "whole" / "models" / "02" / "model.npz").write_bytes(b"other")
    with pytest.raises(BundleDamaged):
        Loaded(tmp_path / "whole")


def test_a_change_of_any_is_another_model_and_none_is_not_written_again(folders: list[Path], tmp_path: Path) -> None:
    to = tmp_path / "whole"
    first = gather(to, folders[0], folders[1:])
    written = (to / "manifest.json").stat().st_ino
    assert gather(to, folders[0], folders[1:]) == first
    assert (to / "manifest.json").stat().st_ino == written
    changed = gather(to, folders[0], [folders[1], boats(tmp_path / "two", "2", 21.0)])
    assert changed.digest != first.digest
    assert (to / "manifest.json").stat().st_ino != written


def test_needs_that_no_environment_has_are_refused(folders: list[Path], tmp_path: Path) -> None:
    manifest = bundle.verify(folders[1])
    packages = dict.fromkeys(manifest.requirements.packages, "0.1")
    unlike = msgspec.structs.replace(manifest, requirements=Requirements(manifest.requirements.python, packages))
    files = {name: (folders[1] / name).read_bytes() for name in manifest.files}
    bundle.write(tmp_path / "unlike", unlike, files)
    with pytest.raises(BundlesClash, match=r"needs numpy 0\.1, another of them numpy"):
        gather(tmp_path / "whole", folders[0], [tmp_path / "unlike"])


def test_an_image_holds_them_all_and_no_path_of_the_desk(folders: list[Path], tmp_path: Path) -> None:
    project = Project(serve=Serve(bundles=tuple(map(str, folders[1:]))))
    planned = plan(project, gather(tmp_path / "whole", folders[0], folders[1:]))
    assert {"manifest.json", "models/01/manifest.json", "models/02/model.npz"} <= set(planned.bundle_files)
    assert "WHERRY_SERVE_BUNDLES" not in planned.config.environ
    fewer = plan(project, gather(tmp_path / "fewer", folders[0], folders[1:2]))
    assert fewer.content_tag != planned.content_tag
