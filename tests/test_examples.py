"""The examples as their users have them: copied out, every block of their README run, then what the walkthrough asks.

Each is trained once: the blocks of its README train it and leave its service running, and that is asked the rest.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import random
import re
import shlex
import shutil
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
DATA = ROOT.parent / "shared" / "data"
# The examples that are walkthroughs, each with the number of its listings in tests/data/walkthroughs.
WALKTHROUGHS = {"toy-classifier": 0, "image-classifier": 1, "house-prices": 2, "dry-beans": 3, "breast-cancer": 4}


def listings(name: str) -> dict[str, str]:
    """What the example's walkthrough prints: the text of each file by its path."""
    parts = (ROOT / "tests" / "data" / "walkthroughs" / f"{WALKTHROUGHS[name]}.txt").read_text().split("==== ")[1:]
    return {path: text for path, _, text in (part.partition("\n") for part in parts)}


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
MARKS: dict[str, Any] = {"dry-beans": pytest.mark.slow, "image-classifier": pytest.mark.heavy}
LIVED = [pytest.param(name, marks=MARKS.get(name, ())) for name in EXAMPLES]
# Pictures that an example's commands name, and what they are here.
PICTURES = {"image-classifier": {"dog.jpeg": "dog.jpg", "kitten.jpeg": "kitten.jpg"}}


@pytest.fixture(scope="module", params=LIVED)
def lived(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    free_ports: Callable[[int], list[int]],
    forking: Any,
) -> Iterator[Lived]:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    name = request.param
    folder = tmp_path_factory.mktemp("examples") / name
    command = [sys.executable, "-m", "wherry", "example", name, "--to", str(folder)]
    copied = subprocess.run(command, capture_output=True, text=True, check=False)
    assert copied.returncode == 0, copied.stderr
    for own, shared in PICTURES.get(name, {}).items():
        pytest.importorskip("torch", reason="needs torch: scripts/heavy-env")
        if not (DATA / shared).is_file():
            pytest.skip(f"needs ../shared/data/{shared}")
        shutil.copy(DATA / shared, folder / own)
    reader = readme.Reader(folder, free_ports(1)[0], forking, {}, {})
    try:
        for block in readme.blocks(ROOT / "examples" / name / "README.md"):
            if block.tag != "sh cluster":  # those are run by tests/scripts/test_story.py
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
    "image-classifier": [],
}


def near(told: Any, wanted: Any) -> bool:
    """Equal; numbers to the four places that a text shows, and any of several replies."""
    if callable(wanted):
        return bool(wanted(told))
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


# Where a walkthrough's commands find its service: on this machine its port is replaced, for 5000 is the registry's.
HERE = re.compile(r"(?<=http://)(localhost|0\.0\.0\.0):(5000|8000)")
CLUSTER = re.compile(r"(\$LOADBALANCER_IP:5000|\$\(minikube ip\):30001|192\.168\.59\.101:30001)")


def sees_a_dog(told: Any) -> bool:
    """The reply that the text prints in shape and order, for the picture that there is here."""
    found = told["predictions"]
    shares = [each["probability"] for each in found]
    return (
        list(told) == ["predictions", "success"]
        and told["success"] is True
        and [list(each) for each in found] == [["label", "probability"]] * 5
        and found[0]["label"] == "Samoyed"
        and shares == sorted(shares, reverse=True)
        and 0 < sum(shares) <= 1
    )


# What the text says that a path answers; of the last it prints the reply.
SAID: dict[str, dict[str, Any]] = {
    "toy-classifier": {"": {"message": "Hey look it's working"}, "/predict": ({"output": [0]}, {"output": [1]})},
    "image-classifier": {"/predict": sees_a_dog},
    "breast-cancer": {
        "/info": {"name": "Breast Cancer Wisconsin (Diagnostic)", "version": "v1.0.0"},
        "/health": ["ok"],
        "/predict": {"label": "M", "prediction": 1},
    },
}


def typed(text: str) -> Iterator[str]:
    """The curl commands in the blocks of a text, each with all its lines."""
    for block in re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        command = ""
        for line in block.splitlines():
            if command or line.startswith("curl "):
                command += f"{line}\n"
                with contextlib.suppress(ValueError):  # a quote is open: it goes on
                    shlex.split(command)
                    yield command
                    command = ""


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_walkthrough_s_own_commands_are_answered_as_it_prints(lived: Lived) -> None:
    """Its curl lines and its client, to the letter but for the port, or the address of a cluster."""
    if lived.name not in WALKTHROUGHS:
        return
    printed, port = listings(lived.name), lived.url.rpartition(":")[2]
    wanted = dict(SAID.get(lived.name, {}))
    for line in typed(printed["README.md"]):
        if HERE.search(line) or CLUSTER.search(line):
            path = re.split(r":(?:5000|8000|30001)", line)[-1].partition("?")[0].strip("\"'\n ")
            asked = CLUSTER.sub(f"127.0.0.1:{port}", HERE.sub(rf"\1:{port}", line))
            told = run(["bash", "-c", f"curl -sS {asked.removeprefix('curl ')}"], lived.folder)
            assert near(json.loads(told), SAID[lived.name][path]), (line, told)
            wanted.pop(path, None)
    assert not wanted, "a request that the text prints was not found in its listings"
    if lived.name == "breast-cancer":
        assert "\n" + json.dumps(SAID[lived.name]["/predict"], separators=(",", ":")) + "\n" in printed["README.md"]
    if "client.py" in printed:
        client = printed["client.py"].replace("localhost:5000", f"localhost:{port}")
        stored = re.sub(r",\s*'store': False", "", client)  # as the text has it once there is a database
        assert stored != client
        for text in (client, stored):
            assert run([sys.executable, "-c", text], lived.folder) == """{'predictions': '["DERMASON"]'}\n"""


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def test_pictures_are_recognised(lived: Lived) -> None:
    """Each by its own first label; the control is that they differ."""
    labels = {"dog.jpeg": {"Samoyed"}, "kitten.jpeg": {"tabby", "tiger cat", "Egyptian cat"}}
    for file in PICTURES.get(lived.name, {}):
        told = json.loads(run(["curl", "-sS", "-F", f"image=@{file}", f"{lived.url}/predict"], lived.folder))
        found = told["predictions"]
        assert found[0]["label"] in labels[file]
        shares = [each["probability"] for each in found]
        assert len(found) == 5
        assert shares == sorted(shares, reverse=True)
        assert 0.3 < sum(shares) <= 1


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


# The models that an example has beside its first one, each a project of its own in a folder of it.
FURTHER = sorted(path.parent for path in (ROOT / "examples").glob("*/*/README.md"))


@pytest.mark.parametrize("project", FURTHER, ids=lambda path: path.name)
def test_a_further_model_of_an_example_is_served_as_its_readme_says(
    project: Path, tmp_path: Path, free_ports: Callable[[int], list[int]], forking: Any
) -> None:
    example, folder = project.parent.name, tmp_path / "example"
    run([sys.executable, "-m", "wherry", "example", example, "--to", str(folder)], tmp_path)
    reader = readme.Reader(folder / project.name, free_ports(1)[0], forking, {}, {})
    try:
        for block in readme.blocks(project / "README.md"):
            reader.read(block)
    finally:
        reader.stop()


def test_no_project_has_more_than_one_file_of_code_beside_training() -> None:
    assert [path.name for path in FURTHER] == ["score", "seldon"]
    for folder in [*(ROOT / "examples" / name for name in EXAMPLES), *FURTHER]:
        own = [path.name for path in folder.glob("*.py") if path.name != "train.py"]
        assert len(own) <= 1, (folder.name, own)


def written(text: str) -> int:
    """The lines that say something: no blanks, no comments."""
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())


@pytest.mark.parametrize("name", WALKTHROUGHS)
def test_what_a_user_writes_beside_training_is_little(name: str, record_property: Any) -> None:
    files = (ROOT / "examples" / name).rglob("*.*")
    own = sum(
        written(path.read_text())
        for path in files
        if path.suffix in (".toml", ".html", ".py", ".yaml", ".sh") and path.name != "train.py"
    )
    theirs = sum(
        written(text)
        for path, text in listings(name).items()
        if "train" not in path and path not in ("README.md", "client.py")
    )
    print(f"{name}: {own} lines beside training; the walkthrough prints {theirs}")
    record_property("lines", own)
    assert own <= MOST_LINES
    assert own < theirs


# How many words each walkthrough takes, its code included (wc -w).
WORDS = {
    "toy-classifier": 873,
    "image-classifier": 2453,
    "house-prices": 1141,
    "dry-beans": 2294,
    "breast-cancer": 2511,
}


@pytest.mark.parametrize("name", WALKTHROUGHS)
def test_a_readme_is_a_tenth_of_its_walkthrough_and_says_what_differs(name: str) -> None:
    text = (ROOT / "examples" / name / "README.md").read_text()
    story, heading, differs = text.partition("## Where it differs from the text\n")
    assert heading
    assert len(re.findall(r"^- ", differs, re.MULTILINE)) >= 5
    words = len(re.sub(r"^```.*$", "", story, flags=re.MULTILINE).split())
    print(f"{name}: {words} words; the walkthrough takes {WORDS[name]}")
    assert words <= WORDS[name] / 10


@pytest.mark.parametrize("name", WALKTHROUGHS)
def test_every_block_of_a_readme_is_executed(name: str) -> None:
    """None is only shown: each is a command, a service, code, or what the block before it printed."""
    tags = {block.tag for block in readme.blocks(ROOT / "examples" / name / "README.md")}
    assert tags <= {"sh", "sh serve", "sh cluster", "python", "json reply", "text output"}
