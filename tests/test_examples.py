"""The examples as their users have them: copied out, every block of their README run, then what the walkthrough asks.

Each is trained once: the blocks of its README train it and leave its service running, and that is asked the rest.
"""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if (path / "README.md").is_file())
MOST_LINES = 25  # that a user writes beside training

# The blocks of a README are run by what runs those of the others.
spec = importlib.util.spec_from_file_location("readme_blocks", ROOT / "tests" / "test_readme.py")
assert spec is not None and spec.loader is not None
readme = sys.modules["readme_blocks"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(readme)


class Lived(NamedTuple):
    """An example after its README: its folder, and the address of the service that still runs."""

    name: str
    folder: Path
    url: str

    def ask(self, path: str, body: Any = None) -> tuple[int, str, bytes]:
        """Status, media type and body of a GET, or of a POST of JSON (bytes as they stand)."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}{path}", data, {"Content-Type": "application/json"} if data else {}
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as reply:
                return reply.status, reply.headers.get_content_type(), reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers.get_content_type(), error.read()


# Half a minute of training: the others show quickly that the way works.
LIVED = [pytest.param(name, marks=pytest.mark.slow if name == "dry-beans" else ()) for name in EXAMPLES]


@pytest.fixture(scope="module", params=LIVED)
def lived(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, free_ports: Callable[[int], list[int]]
) -> Iterator[Lived]:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    name = request.param
    folder = tmp_path_factory.mktemp("examples") / name
    command = [sys.executable, "-m", "wherry", "example", name, "--to", str(folder)]
    copied = subprocess.run(command, capture_output=True, text=True, check=False)
    assert copied.returncode == 0, copied.stderr
    reader = readme.Reader(folder, free_ports(1)[0], {}, {})
    try:
        for block in readme.blocks(ROOT / "examples" / name / "README.md"):
            reader.read(block)
        yield Lived(name, folder, f"http://127.0.0.1:{reader.port}")
    finally:
        reader.stop()


BEAN = "[[33958.0, 677.1, 253.69, 171.05, 1.48, 0.74, 34241.0, 207.93, 0.82, 0.99, 0.93, 0.82, 0.01, 0.0, 0.67, 1.0]]"
TUMOUR = {
    "concavity_mean": 0.3001,
    "concave_points_mean": 0.1471,
    "perimeter_se": 8.589,
    "area_se": 153.4,
    "texture_worst": 17.33,
    "area_worst": 2019.0,
}
HOUSE = {
    "LSTAT": 7.34,
    "B": 375.21,
    "PTRATIO": 16.9,
    "TAX": 430.0,
    "RAD": 4.0,
    "DIS": 5.2146,
    "AGE": 17.2,
    "RM": 6.333,
    "NOX": 0.46,
    "CHAS": 0.0,
    "INDUS": 3.24,
    "ZN": 0.0,
    "CRIM": 0.06724,
}
# What each walkthrough asks and prints, and what is beside it in the text: path, body, status, reply.
REPLAYS: dict[str, list[tuple[str, Any, int, Any]]] = {
    "toy-classifier": [
        ("/", None, 200, {"message": "Hey look it's working"}),
        ("/predict?feature_1=1&feature_2=1&feature_3=1", None, 200, ({"output": [0]}, {"output": [1]})),
        ("/predict?feature_1=1.5&feature_2=-2.25&feature_3=0", None, 200, ({"output": [0]}, {"output": [1]})),
    ],
    "house-prices": [
        ("/", None, 200, b"I'M ALIVE!"),
        ("/predict", HOUSE, 200, {"status": "ok", "predict": 24.8896}),
        ("/predict", dict(reversed(HOUSE.items())), 200, {"status": "ok", "predict": 24.8896}),
    ],
    "dry-beans": [
        ("/predict", {"data": BEAN}, 200, {"predictions": '["DERMASON"]'}),
        ("/predict", {"data": BEAN, "store": False}, 200, {"predictions": '["DERMASON"]'}),
        (
            "/predict",
            {"data": BEAN.replace(", 207", ",                       207")},
            200,
            {"predictions": '["DERMASON"]'},
        ),
    ],
    "breast-cancer": [
        ("/info", None, 200, {"name": "Breast Cancer Wisconsin (Diagnostic)", "version": "v1.0.0"}),
        ("/health", None, 200, ["ok"]),
        ("/predict", TUMOUR, 200, {"label": "M", "prediction": 1}),
    ],
    "iris": [],
}


def near(told: Any, wanted: Any) -> bool:
    """Equal; numbers to the four places that a text shows, and any of several replies."""
    if isinstance(wanted, tuple):
        return any(near(told, each) for each in wanted)
    if isinstance(wanted, float):
        return bool(told == pytest.approx(wanted, abs=1e-3))
    if isinstance(wanted, dict) and isinstance(told, dict):
        return list(told) == list(wanted) and all(near(told[key], wanted[key]) for key in wanted)
    return bool(told == wanted)


def test_what_the_walkthrough_asks_is_answered_as_it_prints(lived: Lived) -> None:
    assert set(REPLAYS) == set(EXAMPLES)
    for path, body, status, wanted in REPLAYS[lived.name]:
        code, _, said = lived.ask(path, body)
        assert code == status, (path, said)
        told = said if isinstance(wanted, bytes) else json.loads(said)
        assert near(told, wanted), (path, told)


def test_columns_in_any_order_get_equal_answers(lived: Lived) -> None:
    golden = json.loads((lived.folder / "bundle" / "golden.json").read_text())
    shuffle = random.Random(4).sample
    answers = set()
    for row in golden["rows"]:
        record = dict(zip(golden["columns"], row, strict=True))
        status, _, answer = lived.ask("/predict", record)
        assert status == 200
        answers.add(answer)
        shuffled = {key: record[key] for key in shuffle(list(record), len(record))}
        assert lived.ask("/predict", shuffled)[2] == answer
    assert len(answers) > 1, "one answer for every row would prove nothing"


def test_an_error_is_never_200(lived: Lived) -> None:
    """A missing feature, a row of the wrong length, broken JSON: 4xx, and the project's own shape where it has one."""
    golden = json.loads((lived.folder / "bundle" / "golden.json").read_text())
    record = dict(zip(golden["columns"], golden["rows"][0], strict=True))
    missing = {key: value for key, value in record.items() if key != golden["columns"][0]}
    asked: list[tuple[Any, int]] = [(missing, 422), (b"{", 400), ([golden["rows"][0][1:]], 422), ({}, 422)]
    if lived.name == "dry-beans":
        asked += [({"data": "[[1.0]]"}, 422), ({"data": "[["}, 400), ({"store": False}, 422)]
    for body, wanted in asked:
        status, _, said = lived.ask("/predict", body)
        assert status == wanted, (body, said)
        if lived.name == "house-prices":
            told = json.loads(said)
            assert (told["status"], told["predict"]) == ("error", -1) and told["detail"]


def test_a_page_is_at_the_root_where_the_project_has_one(lived: Lived) -> None:
    status, media, said = lived.ask("/")
    kinds = {"toy-classifier": "application/json", "house-prices": "text/plain", "dry-beans": "text/html"}
    assert status == 200
    assert media == kinds.get(lived.name, media)
    if lived.name == "dry-beans":
        assert said == (ROOT / "examples" / "dry-beans" / "home.html").read_bytes()


def written(text: str) -> int:
    """The lines that say something: no blanks, no comments."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())


@pytest.mark.parametrize(
    ("name", "number"), [("toy-classifier", 0), ("house-prices", 2), ("dry-beans", 3), ("breast-cancer", 4)]
)
def test_what_a_user_writes_beside_training_is_little(name: str, number: int, record_property: Any) -> None:
    own = sum(
        written(path.read_text()) for path in (ROOT / "examples" / name).iterdir() if path.suffix in (".toml", ".html")
    )
    listing = (ROOT / "tests" / "data" / "walkthroughs" / f"{number}.txt").read_text().split("==== ")[1:]
    parts = {path: text for path, _, text in (part.partition("\n") for part in listing)}
    theirs = sum(
        written(text) for path, text in parts.items() if "train" not in path and path not in ("README.md", "client.py")
    )
    print(f"{name}: {own} lines beside training; the walkthrough prints {theirs}")
    record_property("lines", own)
    assert own <= MOST_LINES
    assert own < theirs


@pytest.mark.parametrize(("name", "number"), [("toy-classifier", "0"), ("house-prices", "2"), ("dry-beans", "3")])
def test_a_readme_is_short_and_says_what_differs(name: str, number: str) -> None:
    text = (ROOT / "examples" / name / "README.md").read_text()
    assert len(text.splitlines()) <= 70
    assert "## Where it differs from the text" in text
