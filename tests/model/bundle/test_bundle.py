"""A bundle is written whole or not at all, and read only when every byte is the one that was packed."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from model_parts import breast_cancer, make_bundle
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wherry.contract.manifest import Manifest
from wherry.errors import (
    BundleDamaged,
    BundleMissing,
    BundleUnreadable,
    DiskFull,
    FolderTaken,
    FormatUnknown,
    WherryError,
)
from wherry.model import bundle
from wherry.model.bundle import writing
from wherry.model.loaded import load


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    X, y = breast_cancer()
    folder = tmp_path_factory.mktemp("packed") / "bundle"
    make_bundle(folder, make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X)
    return folder


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    copy = tmp_path / "bundle"
    bundle.write(copy, bundle.read_manifest(packed), files_of(packed))
    return copy


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in bundle.read_manifest(folder).files}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def resealed(folder: Path, **changes: Any) -> None:
    """Rewrite the manifest as an attacker would: with a digest that is right."""
    manifest = msgspec.structs.replace(bundle.read_manifest(folder), **changes).sealed()
    (folder / "manifest.json").write_bytes(manifest.pretty())


def test_what_is_written_is_read_again(folder: Path) -> None:
    manifest = bundle.verify(folder)
    assert manifest == bundle.read_manifest(folder)
    assert sorted(manifest.files) == ["baseline.json", "example.json", "golden.json", "model.npz"]
    assert len(bundle.golden(folder, manifest).rows) == 32
    assert stat.S_IMODE(folder.stat().st_mode) & 0o500 == 0o500
    assert names(folder.parent) == ["bundle"]


def test_equal_models_give_equal_bytes(packed: Path, tmp_path: Path) -> None:
    X, y = breast_cancer()
    make_bundle(tmp_path / "bundle", make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X)
    assert {p.name: p.read_bytes() for p in packed.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "bundle").iterdir()
    }


def test_no_damaged_model_is_ever_loaded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """T16: one bit flipped at 100 offsets, the file of another model, the file cut short: 0 of 102 are loaded."""
    path = folder / "model.npz"
    good = path.read_bytes()
    offsets = [place * (len(good) - 1) // 99 for place in range(100)]
    spoiled = {f"bit at {at}": good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :] for at in offsets}
    spoiled["another model's"] = good.replace(b"weights", b"wEights")
    spoiled["cut short"] = good[: len(good) // 2]
    assert len(spoiled) == 102
    expected = bundle.read_manifest(folder).files["model.npz"]
    loaded = []
    for name, data in spoiled.items():
        path.write_bytes(data)
        try:
            load(folder)
        except BundleDamaged as error:
            sentence = str(error)
            assert "model.npz" in sentence
            assert expected in sentence and error.found in sentence and error.found != expected
        else:
            loaded.append(name)
    with capsys.disabled():
        print(
            f"\nT16: {len(loaded)} of {len(spoiled)} damaged models were loaded (bits flipped at 100 offsets, 1 swap, "
            "1 truncation); every refusal names the file and both digests"
        )
    assert loaded == []
    path.write_bytes(good)
    load(folder).replay()


@pytest.mark.parametrize("name", ["baseline.json", "golden.json", "example.json", "model.npz"])
def test_each_file_counts(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(BundleDamaged, match=name):
        bundle.verify(folder)


def test_the_manifest_is_covered_by_its_own_digest(folder: Path) -> None:
    path = folder / "manifest.json"
    text = path.read_text()
    for changed in (text.replace('"version": "1"', '"version": "2"'), text.replace("{", '{"later": 1,', 1)):
        path.write_text(changed)
        with pytest.raises(BundleDamaged) as caught:
            bundle.read_manifest(folder)
        assert caught.value.expected in str(caught.value) and caught.value.found in str(caught.value)
        assert caught.value.path.endswith("manifest.json")


def test_a_manifest_that_is_none(folder: Path, tmp_path: Path) -> None:
    path = folder / "manifest.json"
    good = path.read_text()
    for text, error in (
        ("", BundleUnreadable),
        ("[]", FormatUnknown),
        (good[: len(good) // 2], BundleUnreadable),
        (good.replace('"format": 1', '"format": 99'), FormatUnknown),
        ('{"format": 1}', BundleUnreadable),
    ):
        path.write_text(text)
        with pytest.raises(error):
            bundle.read_manifest(folder)
    for place, why in ((tmp_path / "nowhere", "no such folder"), (path, "it is a file"), (tmp_path, "no manifest")):
        with pytest.raises(BundleMissing, match=why):
            bundle.read_manifest(place)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "golden.json").unlink()
    with pytest.raises(BundleUnreadable, match=r"golden\.json: is missing"):
        bundle.verify(folder)


def test_a_file_that_was_not_packed_is_refused_but_for_dotfiles(folder: Path) -> None:
    (folder / ".gitignore").write_text("*")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "thing").write_text("")
    bundle.verify(folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleUnreadable, match=r"notes\.txt: is not among the files"):
        bundle.verify(folder)


@pytest.mark.parametrize("name", ["../model.npz", "/etc/hostname", "a/../../x", "./model.npz", "", "a\\b", ".hidden"])
def test_names_that_lead_outside_are_refused(folder: Path, name: str) -> None:
    manifest = bundle.read_manifest(folder)
    resealed(folder, files={**manifest.files, name: "0" * 64})
    with pytest.raises(BundleUnreadable, match="no file inside the bundle"):
        bundle.verify(folder)


def test_links_are_never_followed(folder: Path, tmp_path: Path) -> None:
    model = folder / "model.npz"
    (tmp_path / "outside.npz").write_bytes(model.read_bytes())
    model.unlink()
    model.symlink_to(tmp_path / "outside.npz")
    with pytest.raises(BundleUnreadable, match="link"):
        bundle.verify(folder)


def test_a_link_in_the_way_to_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_bytes(b"")
    (folder / "inner").symlink_to(tmp_path / "outside")
    manifest = bundle.read_manifest(folder)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    resealed(folder, files={**manifest.files, "inner/x": empty})
    with pytest.raises(BundleUnreadable, match="link"):
        bundle.verify(folder)


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(folder: Path) -> None:
    (folder / "model.npz").unlink()
    os.mkfifo(folder / "model.npz")
    with pytest.raises(BundleUnreadable, match="not a regular file"):
        bundle.verify(folder)


def test_a_manifest_must_list_what_it_needs(folder: Path) -> None:
    manifest = bundle.read_manifest(folder)
    resealed(folder, files={name: digest for name, digest in manifest.files.items() if name != "model.npz"})
    (folder / "model.npz").unlink()
    with pytest.raises(BundleUnreadable, match=r"needs model\.npz"):
        bundle.verify(folder)


def test_a_bundle_is_replaced_and_an_empty_folder_filled(packed: Path, folder: Path, tmp_path: Path) -> None:
    files, manifest = files_of(packed), bundle.read_manifest(packed)
    newer = bundle.write(folder, msgspec.structs.replace(manifest, version="2"), {**files, "sub/extra.bin": b"x"})
    assert bundle.verify(folder) == newer
    bundle.write(folder, manifest, files)
    assert not (folder / "sub").exists()
    (tmp_path / "empty").mkdir()
    bundle.write(tmp_path / "empty", manifest, files)
    bundle.verify(tmp_path / "empty")
    (tmp_path / "link").symlink_to(folder)
    bundle.write(tmp_path / "link", msgspec.structs.replace(manifest, version="3"), files)
    assert (tmp_path / "link").is_symlink() and bundle.verify(folder).version == "3"
    assert names(tmp_path) == ["bundle", "empty", "link"]


def test_no_other_folder_is_ever_replaced(packed: Path, tmp_path: Path) -> None:
    files, manifest = files_of(packed), bundle.read_manifest(packed)
    other = tmp_path / "data"
    other.mkdir()
    (other / "train.csv").write_text("a,b\n")
    with pytest.raises(FolderTaken, match="other things than a bundle"):
        bundle.write(other, manifest, files)
    assert (other / "train.csv").read_text() == "a,b\n"
    with pytest.raises(FolderTaken, match="a file"):
        bundle.write(other / "train.csv", manifest, files)
    for text in ("{}", "[", '{"name": "a web application"}', (packed / "manifest.json").read_text()):
        (other / "manifest.json").write_text(text)
        with pytest.raises(FolderTaken, match="other things than a bundle: "):
            bundle.write(other, manifest, files)
        assert (other / "train.csv").read_text() == "a,b\n" and (other / "manifest.json").read_text() == text


def test_a_bundle_with_a_file_of_its_owner_is_not_replaced(packed: Path, folder: Path) -> None:
    files, manifest = files_of(packed), bundle.read_manifest(packed)
    (folder / "notes").mkdir()
    (folder / "notes" / "why.md").write_text("because")
    with pytest.raises(FolderTaken, match=r"other things than a bundle: notes/why\.md"):
        bundle.write(folder, manifest, files)
    assert (folder / "notes" / "why.md").read_text() == "because"
    (folder / "notes" / "why.md").unlink()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"")
    bundle.write(folder, manifest, files)


def test_a_full_disk_leaves_nothing_half_written(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    files, manifest = files_of(folder), bundle.read_manifest(folder)

    durably = writing.write_durably

    def full(path: Path, data: bytes) -> None:
        if path.name == "manifest.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        durably(path, data)

    monkeypatch.setattr(writing, "write_durably", full)
    with pytest.raises(DiskFull) as caught:
        bundle.write(folder, manifest, files)
    assert str(folder.parent) in str(caught.value)
    with pytest.raises(DiskFull):
        bundle.write(tmp_path / "new", manifest, files)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(tmp_path) == ["bundle"]


def test_a_reader_sees_one_bundle_or_the_other_and_never_none(folder: Path) -> None:
    files, manifest = files_of(folder), bundle.read_manifest(folder)
    seen: set[str] = set()
    failures: list[WherryError] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                seen.add(bundle.read_manifest(folder).version)
            except WherryError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        bundle.write(folder, msgspec.structs.replace(manifest, version=str(turn % 2 + 1)), files)
    done.set()
    reader.join()
    assert failures == [] and seen <= {"1", "2"}


def test_the_exchange_has_a_fallback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "exchanged", lambda one, other: False)
    files, manifest = files_of(folder), bundle.read_manifest(folder)
    bundle.write(folder, msgspec.structs.replace(manifest, version="9"), files)
    assert bundle.verify(folder).version == "9"
    assert names(folder.parent) == ["bundle"]


def test_the_digest_covers_what_is_read_not_how_it_is_spaced(folder: Path) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(raw))
    assert isinstance(bundle.verify(folder), Manifest)
