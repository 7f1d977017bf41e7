"""The desk's bad inputs, by the real command line: each ends with its exit code and a sentence that says what to do."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from wherry.cli.pack import name_line
from wherry.model.bundle import read_manifest

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]


def refused(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """`done` failed with `code`, said all of this on stderr, gave a hint and no traceback."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr, done.stderr
    for text in said:
        assert text in done.stderr, done.stderr


@pytest.fixture
def folder(tmp_path: Path, breast_cancer: Path) -> Path:
    """A user's folder: model.joblib and train.csv."""
    shutil.copy(breast_cancer / "model" / "model_binary.dat.gz", tmp_path / "model.joblib")
    shutil.copy(breast_cancer / "train.csv", tmp_path / "train.csv")
    return tmp_path


@pytest.fixture
def bundle(tmp_path: Path, linear_bundle: Path) -> Path:
    """A bundle that the test may damage, at ./bundle."""
    return Path(shutil.copytree(linear_bundle, tmp_path / "bundle"))


def pack(
    wherry: Wherry, *flags: str, data: str = "train.csv", target: str = "diagnosis"
) -> subprocess.CompletedProcess[str]:
    return wherry("pack", "model.joblib", "--data", data, "--target", target, "--trust", *flags)


def test_a_missing_model_file(wherry: Wherry, folder: Path) -> None:
    refused(wherry("pack", "modle.joblib", "--data", "train.csv", "--trust"), 2, "did you mean model.joblib?")
    (folder / "linked.joblib").symlink_to("gone.joblib")
    refused(wherry("inspect", "linked.joblib"), 2, "hint: it is a link to gone.joblib, which is not there")
    (folder / "adir").mkdir()
    refused(wherry("pack", "adir", "--data", "train.csv"), 2, "adir is a folder, and no bundle")


def test_what_was_given_in_place_of_a_sample_or_a_model(wherry: Wherry, folder: Path) -> None:
    (folder / "empty.csv").write_text("")
    refused(pack(wherry, data="missing.csv"), 2, "missing.csv")
    refused(pack(wherry, data="empty.csv"), 1, "empty.csv", "empty")
    refused(pack(wherry, target="diagnosys"), 1, "diagnosys", "diagnosis")
    (folder / "model.joblib").write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    refused(pack(wherry), 1, "model.joblib")
    (folder / "model.joblib").write_bytes(pickle.dumps({"weights": [1, 2, 3]})[:-9])
    refused(wherry("inspect", "model.joblib"), 1, "model.joblib: ends too early (it is cut off)", "copy it again")


def test_a_wrong_encoding_names_the_byte_and_what_would_do(wherry: Wherry, folder: Path) -> None:
    text = (folder / "train.csv").read_text().replace("area_se", "fläche", 1)
    (folder / "latin.csv").write_bytes(text.encode("latin-1"))
    refused(pack(wherry, data="latin.csv"), 1, "latin.csv", f"byte {text.index('ä')}", "--encoding")


def test_a_file_that_can_run_code_takes_a_word(wherry: Wherry, folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, ("touch exploded",)

    (folder / "model.joblib").write_bytes(pickle.dumps(Bomb()))
    done = wherry("pack", "model.joblib", "--data", "train.csv")
    refused(done, 2, "model.joblib", "--trust")
    wrong = wherry("pack", "model.joblib", "--data", "train.csv", f"--trust=sha256:{'0' * 64}")
    refused(wrong, 2, "sha256")
    assert not (folder / "exploded").exists()


def test_yes_is_no_word_of_trust(wherry: Wherry, folder: Path) -> None:
    done = wherry("pack", "model.joblib", "--data", "train.csv", "--yes")
    assert done.returncode == 2
    assert "--yes" in done.stderr


def test_trust_does_not_swallow_the_model(wherry: Wherry, folder: Path) -> None:
    done = wherry("pack", "--trust", "missing.joblib", "--data", "train.csv")
    refused(done, 2, "missing.joblib")


def test_another_folder_is_never_replaced(wherry: Wherry, folder: Path) -> None:
    (folder / "precious").mkdir()
    (folder / "precious" / "thesis.tex").write_text("years of work")
    refused(pack(wherry, "--to", "precious"), 2, "precious", "--to")
    assert (folder / "precious" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("verb", ["serve", "predict", "build", "render"])
def test_no_bundle(wherry: Wherry, verb: str) -> None:
    more = ["a=1"] if verb == "predict" else []
    refused(wherry(verb, *more), 2, "no bundle in bundle", "wherry pack")


@pytest.mark.parametrize("verb", ["serve", "predict", "inspect", "render"])
def test_a_flipped_bit_names_the_file_and_both_digests(wherry: Wherry, bundle: Path, verb: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    model = bundle / manifest["model"]
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    more = ["bundle/example.json"] if verb == "predict" else []
    refused(wherry(verb, *more), 1, manifest["model"], manifest["files"][manifest["model"]], "sha-256 is")


@pytest.mark.parametrize("verb", ["serve", "inspect"])
def test_a_truncated_bundle(wherry: Wherry, bundle: Path, verb: str) -> None:
    model = json.loads((bundle / "manifest.json").read_text())["model"]
    (bundle / model).write_bytes((bundle / model).read_bytes()[:100])
    refused(wherry(verb), 1, model)
    (bundle / model).unlink()
    refused(wherry(verb), 1, model, "missing")
    text = (bundle / "manifest.json").read_bytes()
    (bundle / "manifest.json").write_bytes(text[: len(text) // 2])
    refused(wherry(verb), 1, "bundle/manifest.json")


def test_a_wrong_key_stops_every_verb_that_reads_settings(wherry: Wherry, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "wherry.toml").write_text("[deploy]\nimge = 'localhost:5000/a'\n")
    for verb in ("serve", "build", "render", "deploy", "status", "config"):
        refused(wherry(verb), 2, "deploy.imge is not a setting (did you mean deploy.image?)")


@pytest.mark.parametrize("verb", ["build", "deploy"])
def test_no_image_name(wherry: Wherry, bundle: Path, verb: str) -> None:
    refused(wherry(verb), 2, "the image has no name", f"wherry {verb} --image REGISTRY/iris")


def test_no_cluster(wherry: Wherry, bundle: Path, tmp_path: Path, free_ports: Callable[[int], list[int]]) -> None:
    refused(wherry("status", KUBECONFIG=str(tmp_path / "none")), 1, "no cluster", "kubeconfig")
    (port,) = free_ports(1)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "default"}}],
        "users": [{"name": "me", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    for words in (
        ["status"],
        ["logs"],
        ["scale", "2"],
        ["down", "--yes"],
        ["deploy", "--image", "localhost:1/a@sha256:" + "0" * 64],
    ):
        done = wherry(*words, KUBECONFIG=str(tmp_path / "config"))
        refused(done, 1, f"127.0.0.1:{port}")
        assert "context here, namespace default" in done.stderr
    failed = json.loads(
        wherry(
            "deploy", "--image", "localhost:1/a:1", "--no-build", "--json", KUBECONFIG=str(tmp_path / "config")
        ).stdout
    )
    assert failed["outcome"] == "unchanged"
    assert failed["error"]["kind"] == "NoCluster"


@pytest.mark.parametrize(
    ("name", "file", "given", "line"),
    [
        ("a", "model.joblib", False, "a 1 (the folder's, as the file is called model); --name changes it"),
        ("model", "model.joblib", False, "model 1 (the file's); --name changes it"),
        ("breast", "breast.joblib.gz", False, "breast 1 (the file's); --name changes it"),
        ("a", "model.joblib", True, "a 1"),
        ("My_Model", "x.joblib", True, "My_Model 1, in a cluster my-model"),
    ],
)
def test_pack_says_where_the_name_is_from(linear_bundle: Path, name: str, file: str, given: bool, line: str) -> None:
    manifest = msgspec.structs.replace(read_manifest(linear_bundle), name=name, version="1")
    assert name_line(manifest, Path(file), given=given) == line
