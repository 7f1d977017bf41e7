"""A Python file as a model: its annotations are the signature, its code runs only when somebody vouched for it."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import wherry
from wherry.contract.manifest import Manifest
from wherry.errors import (
    BundleDamaged,
    CodeFailed,
    ExtraMissing,
    FieldsRefused,
    ModelFailed,
    ModelUnknown,
    ModelUnreadable,
    ModelUnsafe,
    NotVouched,
    SampleUnfit,
    UsageRefused,
)
from wherry.model.pack import pack_file
from wherry.model.reading.kinds import kind_of
from wherry.model.reading.programs import libraries

HOUSES = """
    from typing import Literal, NotRequired, TypedDict

    class House(TypedDict):
        rooms: int
        area: float
        city: Literal["Bern", "Basel"]
        garden: bool | None
        note: NotRequired[str]

    def load():
        return {"Bern": 9.0, "Basel": 8.0}

    def predict(rows: list[House], price) -> list[float]:
        return [price[row["city"]] * row["area"] / row["rooms"] for row in rows]
"""
SELDON = """
    import numpy as np

    class {name}:
        class_names = ["low", "high"]

        def load(self):
            self.scale = 2

        def predict(self, X, {rest}):
            assert list({names}) == ["a", "b"], {names}
            total = X.sum(axis=1) * self.scale
            return np.stack([1 - total, total], axis=1)
"""


def packed(folder: Path, code: str, name: str = "service.py", **options: Any) -> Manifest:
    path = folder / name
    path.write_text(dedent(code))
    given = {"data": None, "target": None, "trust": True, "to": folder / "bundle"}
    return pack_file(path, **{**given, **options})


def answers(folder: Path, rows: Any) -> list[Any]:
    return wherry.load(folder / "bundle").predict(rows)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n0.1,0.2\n0.3,0.1\n0.2,0.2\n")
    return path


def test_annotations_are_the_signature(tmp_path: Path) -> None:
    manifest = packed(tmp_path, HOUSES)
    signature = manifest.signature
    assert [(c.name, c.type, c.nullable) for c in signature.columns] == [
        ("rooms", "integer", False),
        ("area", "number", False),
        ("city", "string", False),
        ("garden", "boolean", True),
        ("note", "string", True),
    ]
    assert (signature.output.kind, signature.output.type) == ("number", "number")
    assert (manifest.flavor, manifest.conversion.form, manifest.allow_pickle) == ("callable", "callable", False)
    assert "code/service.py" in manifest.files
    house = {"rooms": 2, "area": 50, "city": "Bern", "garden": None}
    assert answers(tmp_path, house) == [225.0]
    with pytest.raises(FieldsRefused, match="Paris"):
        answers(tmp_path, {**house, "city": "Paris"})
    with pytest.raises(FieldsRefused, match="area"):
        answers(tmp_path, {**house, "area": "50"})


@pytest.mark.parametrize(
    ("code", "row", "answer"),
    [
        ("def predict(X: list[float]) -> list[float]:\n    return X", [2.5], 2.5),
        ("def predict(X: list[int]) -> list[int]:\n    return [x + 1 for x in X]", [2], 3),
        ("def predict(X: list[tuple[float, int]]) -> list[float]:\n    return [a * b for a, b in X]", [0.5, 4], 2.0),
        ("def predict(X: list[str]) -> list[str]:\n    return [x.upper() for x in X]", ["up"], "UP"),
        ("def predict(X: list[str]) -> list[bool]:\n    return ['u' in x for x in X]", ["up"], True),
        ("def predict(X: list[str]) -> list[tuple[float, float]]:\n    return [(1, 2.5) for x in X]", ["u"], [1, 2.5]),
        ("import numpy as np\ndef predict(X: list[float]) -> np.ndarray:\n    return np.array(X) * 2", [1.5], 3.0),
        (
            """
            from dataclasses import dataclass
            @dataclass
            class P:
                x: float
                y: float = 3.0
            def predict(rows: list[P]) -> list[float]:
                return [p.x + p.y for p in rows]
            """,
            {"x": 1},
            4.0,
        ),
        (
            """
            from __future__ import annotations
            from typing import NamedTuple
            class P(NamedTuple):
                x: float
            def predict(rows: list[P]) -> list[float]:
                return [p.x for p in rows]
            """,
            {"x": 1},
            1.0,
        ),
    ],
)
def test_what_a_row_may_be(code: str, row: Any, answer: Any, tmp_path: Path) -> None:
    packed(tmp_path, code)
    [found] = answers(tmp_path, [row])
    assert found == answer
    assert type(found) is type(answer)


def test_a_column_that_the_code_states_takes_fractions_only_as_it_says(tmp_path: Path) -> None:
    with pytest.raises(UsageRefused, match=r"--float rooms: service states that rooms is integer"):
        packed(tmp_path, HOUSES, float_columns=("rooms",))
    with pytest.raises(UsageRefused, match=r"--float nope: service has no column nope"):
        packed(tmp_path, HOUSES, float_columns=("nope",))
    packed(tmp_path, HOUSES, float_columns=("area",))


def test_without_annotations_a_sample_says_which_columns(tmp_path: Path, table: Path) -> None:
    code = "def predict(rows):\n    return [row['a'] > row['b'] for row in rows]\n"
    with pytest.raises(SampleUnfit, match="does not say which columns"):
        packed(tmp_path, code)
    manifest = packed(tmp_path, code, data=table)
    assert manifest.signature.names == ("a", "b")
    assert manifest.signature.output.kind == "class"
    assert manifest.golden.rows == 3
    assert answers(tmp_path, {"b": 0.1, "a": 0.2}) == [True]


def test_probabilities_stand_in_the_order_of_the_classes_as_written(tmp_path: Path) -> None:
    code = """
        from typing import Literal
        def predict(x: list[float]) -> list[Literal["up", "down"]]:
            return ["up" if each > 0 else "down" for each in x]
        def predict_proba(x):
            return [[0.9, 0.1] if each > 0 else [0.2, 0.8] for each in x]
    """
    assert packed(tmp_path, code).signature.output.classes == ("up", "down")
    outputs = wherry.load(tmp_path / "bundle").score([(1.0,), (-1.0,)])
    assert outputs.predictions == ["up", "down"]
    assert outputs.probabilities == [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("rest", "names"),
    [
        ("features_names", "features_names"),
        ("names, meta", "names"),
        ("features_names=None, **kwargs", "features_names"),
    ],
)
def test_a_class_as_seldon_has_them_is_served_as_it_is(rest: str, names: str, tmp_path: Path, table: Path) -> None:
    manifest = packed(tmp_path, SELDON.format(name="MyModel", rest=rest, names=names), "MyModel.py", data=table)
    assert manifest.signature.output.width == 2
    assert answers(tmp_path, {"a": 0.25, "b": 0.125}) == [[0.25, 0.75]]


def test_of_several_classes_the_one_that_the_file_is_named_after_answers(tmp_path: Path, table: Path) -> None:
    both = SELDON.format(name="Right", rest="names", names="names") + "\n    class Wrong(Right): pass\n"
    with pytest.raises(ModelUnknown, match="several classes"):
        packed(tmp_path, both, "service.py", data=table)
    packed(tmp_path, both, "Right.py", data=table)


def test_code_runs_only_when_somebody_vouched_for_it(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef predict(X: list[float]) -> list[float]:\n    return X\n"
    with pytest.raises(NotVouched, match="is a program") as refused:
        packed(tmp_path, code, trust=False)
    with pytest.raises(NotVouched, match="vouched for"):
        packed(tmp_path, code, trust="sha256:" + "0" * 64)
    assert not (tmp_path / "ran").exists()
    packed(tmp_path, code, trust=f"sha256:{refused.value.digest}")
    assert (tmp_path / "ran").exists()


def test_changed_code_is_not_run(tmp_path: Path) -> None:
    packed(tmp_path, "def predict(X: list[float]) -> list[float]:\n    return X\n")
    code = tmp_path / "bundle" / "code" / "service.py"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(BundleDamaged, match=r"service\.py"):
        wherry.load(tmp_path / "bundle")
    assert not (tmp_path / "ran").exists()


def test_loading_leaves_nothing_in_the_bundle(tmp_path: Path) -> None:
    """A compiled file beside the code would be one that the manifest does not list."""
    packed(tmp_path, HOUSES)
    wherry.load(tmp_path / "bundle")
    wherry.load(tmp_path / "bundle")


READS = """
    from pathlib import Path
    import numpy as np

    def load():
        return np.load(Path(__file__).with_name("weights.npy"))

    def predict(x: list[float], weights) -> list[float]:
        return [each * float(weights[0]) for each in x]
"""


def test_what_the_code_reads_travels_with_it(tmp_path: Path, own_process: None) -> None:
    np.save(tmp_path / "weights.npy", np.array([3.0]))
    with pytest.raises(ModelUnsafe, match=r"weights\.npy"):  # the process that loads the bundle does not find it
        packed(tmp_path, READS)
    manifest = packed(tmp_path, READS, beside=[tmp_path / "weights.npy"])
    assert "code/weights.npy" in manifest.files
    (tmp_path / "weights.npy").unlink()
    assert answers(tmp_path, [[2.0]]) == [6.0]
    with pytest.raises(UsageRefused, match="does not lie beside"):
        packed(tmp_path, READS, beside=[tmp_path.parent / "weights.npy"])


def test_what_the_code_imports_is_required(tmp_path: Path) -> None:
    code = """
        import json, numpy as np
        def predict(X: list[float]) -> list[float]:
            import msgspec
            return X
    """
    assert set(packed(tmp_path, code).requirements.packages) == {"numpy", "msgspec"}
    stated = b"# /// script\n# dependencies = [\n#   'Scikit_Learn>=1',\n# ]\n# ///\nimport json\n"
    assert libraries(stated, "x.py") == ("scikit-learn",)
    with pytest.raises(ExtraMissing, match="no-such-package") as missing:
        libraries(stated.replace(b"Scikit_Learn", b"no-such-package"), "x.py")
    assert missing.value.hint == "pip install no-such-package"


def test_a_module_that_lies_beside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_features.py").write_text("def twice(x): return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelUnknown, match="imports own_features"):
        packed(tmp_path, "import own_features\ndef predict(X: list[float]) -> list[float]:\n    return X\n")


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("def train():\n    pass\n", ModelUnknown, "nothing that answers"),
        ("import nothing_here\ndef predict(x: list[float]): ...\n", CodeFailed, r"service\.py, line 1: ModuleNotFound"),
        ("def predict(x: list[float]):\n    return 1 / 0\n", SampleUnfit, r"service\.py, line 2, in predict: ZeroDiv"),
        ("def predict(x: list[float])\n    return x\n", CodeFailed, r"service\.py, line 1: SyntaxError: expected ':'"),
        ("async def predict(x: list[float]): ...\n", ModelUnknown, "async"),
        ("def predict(x: list[float], model): ...\n", ModelUnknown, r"no load\(\)"),
        ("def predict(): ...\n", ModelUnknown, "takes 0 arguments"),
        ("def predict(x: float) -> float:\n    return x\n", ModelUnknown, "is a list of rows"),
        ("def predict(x: list[bytes]) -> list[float]:\n    return x\n", ModelUnknown, "no cell of a row"),
        ("def predict(x: list[float]):\n    return [{'a': 1}]\n", ModelUnreadable, "answers with dict"),
        ("def predict(x: list[float]) -> list[float]:\n    return x[:-1]\n", SampleUnfit, "gave 0 answers to 1 rows"),
        ("def predict(x: list[float]) -> list[float]:\n    return x[0]\n", SampleUnfit, "gave a float to 1 rows"),
    ],
)
def test_what_cannot_be_served_is_said_at_pack(code: str, error: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        packed(tmp_path, code)
    assert not (tmp_path / "bundle").exists()


def test_an_answer_that_depends_on_its_neighbours_is_refused(tmp_path: Path, table: Path) -> None:
    """Requests that wait are scored together: such a model would answer by who else is asking."""
    code = "def predict(rows):\n    top = max(row['a'] for row in rows)\n    return [row['a'] / top for row in rows]\n"
    with pytest.raises(ModelUnreadable, match="asked alone"):
        packed(tmp_path, code, data=table)


def test_a_bad_row_punishes_no_other(tmp_path: Path) -> None:
    packed(tmp_path, "def predict(X: list[float]) -> list[float]:\n    return [1 / x for x in X]\n")
    with pytest.raises(ModelFailed) as failed:
        wherry.load(tmp_path / "bundle").score([(1.0,), (0.0,), (4.0,)])
    assert failed.value.rows == (1,)
    assert failed.value.outputs.predictions == [1.0, None, 0.25]


def test_the_example_is_answered(tmp_path: Path) -> None:
    packed(tmp_path, HOUSES)
    example = json.loads((tmp_path / "bundle" / "example.json").read_bytes())
    assert len(answers(tmp_path, example)) == 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"def predict(rows):\n    return rows\n", "python"),
        (b"import os\n", "python"),
        (b"\nimport numpy as np\n\nclass A:\n    pass\n" + 200 * b"# more\n", "python"),  # begins as ONNX may
        (b"a,b\n1,2\n", "text"),
        (b"class,import\ndef x,1\n", "text"),
        (b"def predict(rows)\n", "python"),  # whose mistake is yet to be named
        (b'{"learner": 1}', "text"),
    ],
)
def test_code_is_told_by_its_content(content: bytes, kind: str) -> None:
    assert kind_of(content) == kind
