"""PyTorch's programs: never read unasked, kept as graphs that answer like them, or refused with a way out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import wherry
from wherry.errors import ModelUnknown, ModelUnreadable, NotVouched, SampleUnfit
from wherry.model.pack import pack_file
from wherry.model.reading.kinds import kind_of

COLUMNS = ["a", "b", "c"]
ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), columns=COLUMNS)
ARCHIVES = {
    "pt2": ("m/archive_format", "m/models/model.json", "m/data/weights/weight_0"),
    "torchscript": ("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl", "m/version"),
    "torch": ("m/data.pkl", "m/version", "m/data/0"),
    "keras": ("metadata.json", "config.json", "model.weights.h5"),
}


def archive(kind: str) -> bytes:
    """A file that looks like one of the library's, from outside."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as made:
        for name in ARCHIVES[kind]:
            made.writestr(name, b"x")
    return sink.getvalue()


@pytest.mark.parametrize("kind", ARCHIVES)
def test_kinds_are_told_by_content(kind: str) -> None:
    assert kind_of(archive(kind)) == kind


@pytest.mark.parametrize("kind", ["pt2", "torchscript", "keras"])
def test_nothing_is_read_before_somebody_vouches(kind: str, tmp_path: Path, wherry: Callable[..., Any]) -> None:
    """The gate comes first: not even the library is imported, which is not installed where this runs."""
    (tmp_path / "m").write_bytes(archive(kind))
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(NotVouched, match="can run code when it is read") as caught:
        pack_file(tmp_path / "m", data=tmp_path / "rows.csv", target=None, to=tmp_path / "bundle")
    assert "--trust=sha256:" in caught.value.hint
    told = wherry("pack", "m")
    assert (told.returncode, "'--data'" in told.stderr) == (2, True)
    assert "can run code when it is read" in wherry("inspect", "m").stdout


def test_a_checkpoint_is_refused_with_the_line_that_saves_the_program(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(archive("torch"))
    with pytest.raises(ModelUnknown, match=r"checkpoint \(torch\.save\)") as caught:
        pack_file(tmp_path / "m.pt", data=None, target=None, trust=True)
    assert "torch.export.save(" in caught.value.hint


@pytest.mark.parametrize("library", ["torch", "keras"])
def test_a_missing_library_is_named_with_what_to_install(library: str) -> None:
    code = f"""
import sys
sys.modules[{library!r}] = None
from wherry.errors import ExtraMissing
try:
    import wherry.model.flavors.{library}
except ExtraMissing as error:
    print(error, "|", error.hint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"needs {library}, which is not installed | pip install {library}" in done.stdout
    assert "onnxscript" in done.stdout


# --- with PyTorch itself --------------------------------------------------------------------------------------------

heavy = pytest.mark.heavy
quiet = pytest.mark.filterwarnings("ignore")  # PyTorch's own


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="needs torch: scripts/heavy-env")


def network(torch: Any, *, outputs: int = 3) -> Any:
    torch.manual_seed(0)
    layers = [torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Dropout(0.3)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(16, outputs)).eval()


def exported(torch: Any, net: Any, path: Path, *examples: Any, batch: bool = True) -> Path:
    given = examples or (torch.zeros(2, 3),)
    dynamic = tuple({0: torch.export.Dim.DYNAMIC} for _ in given) if batch else None
    torch.export.save(torch.export.export(net, given, dynamic_shapes=dynamic), path)
    return path


def scripted(torch: Any, net: Any, path: Path) -> Path:
    torch.jit.script(net).save(path)
    return path


def packed(path: Path, rows: pd.DataFrame = ROWS, **options: Any) -> Any:
    rows.to_csv(path.with_name("rows.csv"), index=False)
    given = {"data": path.with_name("rows.csv"), "target": None, "to": path.with_name("bundle"), "trust": True}
    return pack_file(path, **{**given, **options})


@heavy
@quiet
@pytest.mark.parametrize("save", [exported, scripted])
def test_a_program_answers_as_its_graph(save: Any, torch: Any, tmp_path: Path) -> None:
    net = network(torch)
    manifest = packed(save(torch, net, tmp_path / "net.pt2"))
    assert (manifest.flavor, manifest.conversion.form) == ("onnx", "onnx")
    assert manifest.conversion.proven_rows > len(ROWS)
    assert set(manifest.requirements.packages) == {"numpy", "onnxruntime"}
    assert not manifest.allow_pickle
    wanted = net(torch.from_numpy(ROWS.to_numpy())).detach().numpy()
    np.testing.assert_allclose(wherry.load(tmp_path / "bundle").predict(ROWS), wanted, rtol=1e-4, atol=1e-6)
    (tmp_path / "labels.txt").write_text("low\nmiddle\nhigh\n")
    labelled = packed(tmp_path / "net.pt2", labels=tmp_path / "labels.txt")
    assert labelled.conversion.boundary_pairs > 0
    names = np.array(["low", "middle", "high"])[wanted.argmax(axis=1)].tolist()
    assert wherry.load(tmp_path / "bundle").predict(ROWS) == names


@heavy
@quiet
def test_a_program_of_several_inputs_and_one_for_one_row(torch: Any, tmp_path: Path) -> None:
    class Both(torch.nn.Module):
        def forward(self, size: Any, kind: Any) -> Any:
            return size.sum(dim=1, keepdim=True) + kind.to(torch.float32) * 10, kind + 1

    path = exported(torch, Both(), tmp_path / "both.pt2", torch.zeros(2, 2), torch.zeros(2, 1, dtype=torch.int64))
    rows = pd.DataFrame({"size_0": [0.5, 1.0], "size_1": [1.0, 1.0], "kind": [2, 3]})
    manifest = packed(path, rows)
    assert [column.type for column in manifest.signature.columns] == ["number", "number", "integer"]
    assert wherry.load(tmp_path / "bundle").predict(rows) == [[21.5, 3.0], [32.0, 4.0]]
    net = network(torch, outputs=1)
    packed(exported(torch, net, tmp_path / "one.pt2", torch.zeros(1, 3), batch=False))
    wanted = net(torch.from_numpy(ROWS.to_numpy())).detach().numpy().ravel()
    np.testing.assert_allclose(wherry.load(tmp_path / "bundle").predict(ROWS), wanted, rtol=1e-4, atol=1e-6)


@heavy
@quiet
def test_what_cannot_be_kept_is_told(torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout that was never switched off is the control of the proof; so is a graph of other weights."""
    with pytest.raises(ModelUnreadable, match="answers otherwise") as caught:
        packed(exported(torch, network(torch).train(), tmp_path / "train.pt2"))
    assert "model.eval()" in caught.value.hint
    with pytest.raises(ModelUnknown, match="takes 5 rows at once"):
        packed(exported(torch, network(torch), tmp_path / "five.pt2", torch.zeros(5, 3), batch=False))
    good = exported(torch, network(torch), tmp_path / "good.pt2")
    with pytest.raises(SampleUnfit, match="without rows nothing shows"):
        packed(good, data=None)
    with pytest.raises(SampleUnfit, match="has 2 columns"):
        packed(good, ROWS[["a", "b"]])
    (tmp_path / "cut.pt2").write_bytes(archive("pt2"))
    with pytest.raises(ModelUnknown, match="cannot be read by PyTorch"):
        packed(tmp_path / "cut.pt2")
    from wherry.model.flavors import torch as flavor

    honest, other = flavor.converted, exported(torch, network(torch, outputs=2), tmp_path / "other.pt2")

    def swapped(file: Any, width: int) -> Any:
        import msgspec

        from wherry.model.reading import files

        return msgspec.structs.replace(honest(file, width), graph=honest(files.read(other), width).graph)

    monkeypatch.setattr(flavor, "converted", swapped)
    net = network(torch, outputs=2)
    torch.nn.init.normal_(net[1].weight)
    with pytest.raises(ModelUnreadable, match="60 of 60 sample rows"):
        packed(exported(torch, net, tmp_path / "mine.pt2"))
    assert not (tmp_path / "bundle").exists()


@heavy
def test_packed_and_served_without_pytorch(
    torch: Any, wherry: Callable[..., Any], service: Callable[..., Any], tmp_path: Path
) -> None:
    net = network(torch, outputs=1)
    exported(torch, net, tmp_path / "net.pt2")
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    told = wherry("pack", "net.pt2", "--data", "rows.csv", "--trust")
    assert told.returncode == 0, told.stderr
    assert "stored as  onnx, equal on" in told.stdout
    running = service(tmp_path / "bundle", "--no-store", fresh=True)
    rows = json.loads(ROWS[:5].to_json(orient="records", double_precision=15))
    wanted = net(torch.from_numpy(ROWS.to_numpy()[:5])).detach().numpy().ravel().tolist()
    assert running.ask("/predict", rows).json["predictions"] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    maps = Path(f"/proc/{running.process.pid}/maps").read_text()
    assert "onnxruntime" in maps and "torch" not in maps
