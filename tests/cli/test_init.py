"""`wherry init`: what is carried over from a service, a bodywork.yaml or a model file, what is said to be lost."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wherry.doctor.carrying import toml
from wherry.doctor.carrying.carry import carry
from wherry.doctor.examine import examine

Wherry = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parent.parent.parent
FLASK = "from flask import Flask, jsonify, request\nimport json\napp = Flask(__name__)\n"


def unpack(number: int, folder: Path) -> Path:
    """The walkthrough's own listings in `folder`."""
    parts = (ROOT / "tests" / "data" / "walkthroughs" / f"{number}.txt").read_text().split("==== ")[1:]
    for path, _, text in (part.partition("\n") for part in parts):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def started(wherry: Wherry, source: Path, to: Path) -> tuple[dict[str, Any], list[str]]:
    """The wherry.toml that init writes, and what it says is lost; doctor finds nothing in the new project."""
    done = wherry("init", source, "--to", to, "--json")
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    settings = tomllib.loads((to / "wherry.toml").read_text())
    assert said["settings"] == settings
    assert examine(to).findings == ()
    assert wherry("config", "--json", cwd=to).returncode == 0
    return settings, said["lost"]


def packed(wherry: Wherry, model: object, rows: Any, to: Path) -> Path:
    """What init says comes next: pack the old model file with rows of its columns."""
    (to / "model.pickle").write_bytes(pickle.dumps(model))
    rows.to_csv(to / "ROWS.csv", index=False)
    done = wherry("pack", "model.pickle", "--data", "ROWS.csv", "--target", "COLUMN", cwd=to)
    assert done.returncode == 0, done.stderr
    return to / "bundle"


@pytest.mark.slow
def test_the_toy_classifier_s_listings_answer_its_request(wherry: Wherry, tmp_path: Path, service: Any) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    import pandas as pd

    old = unpack(0, tmp_path / "old")
    settings, lost = started(wherry, old, tmp_path / "new")
    assert settings == {
        "serve": {"port": 5000},
        "reply": {"root": {"message": "Hey look it's working"}, "record": {"output": "$predictions"}},
        "deploy": {
            "autoscale": {"min": 1, "max": 5, "cpu": 40},
            "resources": {"cpu": "1"},
            "service": {"type": "LoadBalancer", "port": 5000},
        },
    }
    assert lost == ["k8s/deployment.yaml:18: the image IMAGE; name one: image under [deploy]"]
    columns = carry(old).columns
    assert columns == ("feature_1", "feature_2", "feature_3")
    made: dict[str, Any] = {}
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        exec((old / "train.py").read_text(), made)  # the walkthrough's own training
    finally:
        os.chdir(before)
    rows = pd.DataFrame(made["x"], columns=list(columns)).assign(COLUMN=made["y"])
    running = service(packed(wherry, made["lr"], rows, tmp_path / "new"), cwd=tmp_path / "new")
    assert running.ask("/").json == {"message": "Hey look it's working"}
    answer = running.ask("/predict?feature_1=1&feature_2=1&feature_3=1")
    assert answer.status == 200
    assert answer.json in ({"output": [0]}, {"output": [1]})


@pytest.mark.slow
def test_the_house_prices_listings_answer_their_request(wherry: Wherry, tmp_path: Path, service: Any) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    import pandas as pd
    from sklearn.linear_model import LinearRegression

    old = unpack(2, tmp_path / "old")
    settings, lost = started(wherry, old, tmp_path / "new")
    assert settings["reply"] == {
        "root": "I'M ALIVE!",
        "record": {"status": "ok", "predict": "$prediction"},
        "error": {"status": "error", "predict": -1, "detail": "$detail"},
    }
    assert [each.partition(";")[0] for each in lost] == ["Dockerfile:12: 5 workers"]
    frame = pd.read_csv(ROOT / "examples" / "house-prices" / "boston_house_prices.csv", skiprows=1).astype(float)
    X, y = frame.drop(columns="MEDV"), frame["MEDV"]
    assert carry(old).columns == tuple(X.columns)
    running = service(
        packed(wherry, LinearRegression().fit(X, y), X.assign(COLUMN=y), tmp_path / "new"), cwd=tmp_path / "new"
    )
    assert running.ask("/").body == b"I'M ALIVE!"
    answer = running.ask("/predict", dict(reversed(X.iloc[0].to_dict().items())))
    assert answer.status == 200
    assert answer.json == {"status": "ok", "predict": pytest.approx(30.0, abs=0.1)}
    wrong = running.ask("/predict", {"CRIM": 1.0})
    assert wrong.status == 422
    assert (wrong.json["status"], wrong.json["predict"]) == ("error", -1)


@pytest.mark.slow
def test_the_dry_beans_listings_answer_their_request(wherry: Wherry, tmp_path: Path, service: Any) -> None:
    """On a tenth of the beans, for training takes its time; the page is the project's own."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    import pandas as pd
    from sklearn.svm import SVC

    old = unpack(3, tmp_path / "old")
    (old / "app" / "templates").mkdir()
    (old / "app" / "templates" / "home.html").write_text("<h1>Dry Beans</h1>")
    settings, lost = started(wherry, old, tmp_path / "new")
    assert settings["serve"] == {"port": 5000}
    assert settings["store"] == {"client_may_skip": True}
    assert settings["reply"] == {
        "request": {"store": "$store", "data": "$json:rows"},
        "rows": {"predictions": "$json:predictions"},
        "root_file": "home.html",
    }
    assert any("MYSQL_PASSWORD" in each for each in lost)
    assert any("the database mysql:5.7; WHERRY_STORE_URL=mysql://" in each for each in lost)
    frame = pd.read_csv(ROOT / "examples" / "dry-beans" / "dry_bean.csv.xz").sample(700, random_state=0)
    X, y = frame.drop(columns="Class").astype(float), frame["Class"]
    running = service(
        packed(wherry, SVC(kernel="linear").fit(X, y), X.assign(COLUMN=y), tmp_path / "new"), cwd=tmp_path / "new"
    )
    assert running.ask("/").body == b"<h1>Dry Beans</h1>"
    made: dict[str, Any] = {}
    client = (old / "client.py").read_text()
    exec(client[client.index("payload") : client.index("response")], made)  # the payload as the client writes it
    answer = running.ask("/predict", made["payload"])
    assert (answer.status, answer.json) == (200, {"predictions": '["DERMASON"]'})


def test_the_breast_cancer_listings_answer_their_request(
    wherry: Wherry, tmp_path: Path, service: Any, breast_cancer: Path, breast_cancer_bundle: Path
) -> None:
    old = unpack(4, tmp_path / "old")
    (old / "model").mkdir()
    (old / "model" / "model_binary.dat.gz").write_bytes((breast_cancer / "model" / "model_binary.dat.gz").read_bytes())
    assert carry(old).models == ("model/model_binary.dat.gz",)
    settings, lost = started(wherry, old, tmp_path / "new")
    assert settings["serve"] == {"port": 8000}
    assert settings["reply"] == {
        "info": {"name": "Breast Cancer Wisconsin (Diagnostic)", "version": "v1.0.0"},
        "health": ["ok"],
        "record": {"label": "$label", "prediction": "$prediction"},
        "labels": {"0": "B", "1": "M"},
    }
    assert settings["deploy"] == {
        "autoscale": {"min": 1, "max": 3},
        "service": {"type": "NodePort", "port": 8000, "node_port": 30001},
        "config_map": "mlserving-configs",
    }
    assert any("a CPU target of 2 %" in each for each in lost)
    assert not any("MODEL_NAME" in each for each in lost)
    [path] = [each for each in lost if "MODEL_PATH" in each]
    assert path.startswith("yaml/configmap.yaml:7: MODEL_PATH /model/model_binary.dat.gz: take the key away")
    assert '[deploy.model] claim = "models"' in path
    running = service(breast_cancer_bundle, cwd=tmp_path / "new")
    assert running.ask("/info").json == settings["reply"]["info"]
    assert running.ask("/health").json == ["ok"]
    row = {"concavity_mean": 0.3001, "concave_points_mean": 0.1471, "perimeter_se": 8.589, "area_se": 153.4}
    told = running.ask("/predict", row | {"texture_worst": 17.33, "area_worst": 2019.0})
    assert told.json == {"label": "M", "prediction": 1}


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_image_classifier_s_listings_answer_their_request(
    wherry: Wherry, tmp_path: Path, service: Any, picture_bundle: Path, pictures: Any
) -> None:
    settings, lost = started(wherry, unpack(1, tmp_path / "old"), tmp_path / "new")
    assert settings["model"] == {"image": {"labels": "labels.txt"}}
    assert settings["reply"] == {
        "record": {"predictions": "$top", "success": True},
        "error": {"success": False, "detail": "$detail"},
    }
    assert any("the name of each class on a line of labels.txt" in each for each in lost)
    running = service(picture_bundle, cwd=tmp_path / "new")
    (tmp_path / "dog.jpeg").write_bytes(pictures.picture("red", kind="JPEG"))
    words = ["curl", "-sS", "--noproxy", "*", "-X", "POST", "-F", "image=@dog.jpeg", f"{running.url}/predict"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert list(told) == ["predictions", "success"]
    assert told["success"] is True
    assert {tuple(each) for each in told["predictions"]} == {("label", "probability")}
    wrong = running.ask("/predict", {"Y": 1})
    assert 400 <= wrong.status < 500
    assert wrong.json["success"] is False


BODYWORK = """\
version: "1.1"
pipeline:
  name: Churn Model
  docker_image: bodyworkml/bodywork-core:3.0
  DAG: train >> serve
stages:
  train:
    executable_module_path: pipeline/train.py
    batch: {max_completion_time_seconds: 60, retries: 2}
  serve:
    executable_module_path: pipeline/serve.py
    requirements:
      - flask==2.1.2
    cpu_request: 0.25
    memory_request_mb: 100
    secrets: {TOKEN: api-credentials}
    service: {max_startup_time_seconds: 30, replicas: 2, port: 5000, ingress: true}
"""


def test_a_bodywork_yaml(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "bodywork.yaml").write_text(BODYWORK)
    settings, lost = started(wherry, tmp_path / "bodywork.yaml", tmp_path / "new")
    assert settings == {
        "serve": {"port": 5000},
        "deploy": {
            "name": "churn-model",
            "replicas": 2,
            "resources": {"cpu": "250m", "memory": "100Mi"},
            "service": {"port": 5000},
        },
    }
    assert [each.partition(";")[0] for each in lost] == [
        "bodywork.yaml:7: the stage train, which runs pipeline/train.py",
        "bodywork.yaml:10: ingress",
        "bodywork.yaml:10: the secret TOKEN",
        "bodywork.yaml:10: pipeline/serve.py: `wherry serve` takes its place",
        "bodywork.yaml:10: requirements flask==2.1.2: the bundle says what it needs",
    ]


def test_a_model_file(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "Churn model.pkl").write_bytes(pickle.dumps({"not": "looked at"}))
    done = wherry("init", "Churn model.pkl")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "wherry.toml"
    assert tomllib.loads((tmp_path / "wherry.toml").read_text()) == {"deploy": {"name": "churn-model"}}
    assert "wherry pack 'Churn model.pkl' --data ROWS.csv --target COLUMN --trust" in done.stderr


def test_what_is_there_is_not_replaced(wherry: Wherry, tmp_path: Path) -> None:
    unpack(0, tmp_path)
    (tmp_path / "wherry.toml").write_text("mine\n")
    done = wherry("init")
    assert done.returncode == 2
    assert "wherry.toml is not replaced: it is there already" in done.stderr
    assert (tmp_path / "wherry.toml").read_text() == "mine\n"


def test_in_the_project_s_own_folder(wherry: Wherry, tmp_path: Path) -> None:
    unpack(2, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert wherry("init").returncode == 0
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(after) - set(before) == {tmp_path / "wherry.toml"}
    assert all(after[path] == content for path, content in before.items())


@pytest.mark.parametrize("text", ["", "import this\n"])
def test_nothing_to_begin_with(text: str, wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "notes.py").write_text(text)
    done = wherry("init")
    assert done.returncode == 2
    assert "nothing in . says how a model is served" in done.stderr
    assert not (tmp_path / "wherry.toml").exists()


@pytest.mark.parametrize(
    ("reply", "wanted", "lost"),
    [
        ("{'score': float(p[0])}", {"record": {"score": "$prediction"}}, ""),
        ("jsonify(score=p.tolist(), ok=True)", {"record": {"score": "$predictions", "ok": True}}, ""),
        ("jsonify({'cost': '$5', 'p': [p[0]]})", {"record": {"cost": "$$5", "p": ["$prediction"]}}, ""),
        (
            "{'kind': 'good' if p[0] == 1 else 'bad'}",
            {"record": {"kind": "$label"}, "labels": {"1": "good", "0": "bad"}},
            "",
        ),
        ("{'kind': 'good' if p[0] > 1 else 'bad'}", {}, "the reply `'good' if p[0] > 1 else 'bad'`"),
        ("{'kind': 'good' if x == 1 else 'bad'}", {}, "the reply `'good' if x == 1 else 'bad'`"),
        ("{'score': p[0] * 100}", {}, "the reply `p[0] * 100`"),
        ("render(p)", {}, "the reply `render(p)`"),
    ],
)
def test_replies_as_templates(reply: str, wanted: dict[str, Any], lost: str, tmp_path: Path) -> None:
    route = "@app.route('/score', methods=['POST'])\ndef score():\n    p = model.predict(request.json)\n"
    source = f"{FLASK}{route}    return {reply}\n"
    (tmp_path / "app.py").write_text(source)
    carried = carry(tmp_path)
    assert {key.removeprefix("reply."): value for key, value in carried.settings.items()} == {
        "predict_paths": ["/score"],
        **wanted,
    }
    assert [each.partition(": ")[2] for each in carried.lost] == ([lost] if lost else [])


def test_settings_come_back_from_their_text() -> None:
    settings = {
        "reply.record": {"a b": 'quote " and \\ and ü', "n": -1, "deep": {"list": [1.5, True, "$x"]}},
        "reply.paths": {"/version": {"version": "$version"}},
        "serve.port": 5000,
        "deploy.service.allow_from": ["192.0.2.0/24"],
    }
    read = tomllib.loads(toml.written(settings))
    assert read["reply"]["record"] == settings["reply.record"]
    assert read["reply"]["paths"] == settings["reply.paths"]
    assert read["serve"]["port"] == 5000
    assert read["deploy"]["service"]["allow_from"] == ["192.0.2.0/24"]
