"""What goes out where a project declares several bundles: put together, or refused before anything is built."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from wherry.cli import project
from wherry.contract.project import Chain, Project, Serve
from wherry.errors import BundlesClash
from wherry.model import bundle


def declared(*folders: Path) -> Project:
    return Project(serve=Serve(bundles=tuple(map(str, folders))))


@pytest.fixture
def second(linear_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The next version of a bundle, in the working directory."""
    monkeypatch.chdir(tmp_path)
    first = bundle.verify(linear_bundle)
    files = {name: (linear_bundle / name).read_bytes() for name in first.files}
    bundle.write(tmp_path / "second", msgspec.structs.replace(first, version="next"), files)
    return tmp_path / "second"


def test_one_bundle_goes_out_as_it_is(linear_bundle: Path, second: Path) -> None:
    assert project.packed(declared(), linear_bundle) == (linear_bundle, bundle.verify(linear_bundle))
    assert not (second.parent / ".wherry").exists()


def test_several_go_out_together(linear_bundle: Path, second: Path) -> None:
    folder, manifest = project.packed(declared(second), linear_bundle)
    assert bundle.verify(folder) == manifest
    (inside,) = bundle.inner(folder, manifest)
    assert bundle.verify(inside) == bundle.verify(second)
    alone = bundle.verify(linear_bundle)
    assert (manifest.name, manifest.version) == (alone.name, alone.version)
    assert manifest.measured.peak_bytes == alone.measured.peak_bytes + bundle.verify(second).measured.peak_bytes


def test_what_no_service_could_hold_is_refused_before_it_is_built(linear_bundle: Path, second: Path) -> None:
    with pytest.raises(BundlesClash, match="is named twice"):
        project.packed(declared(linear_bundle), linear_bundle)
    name = bundle.verify(linear_bundle).name
    chain = Chain(steps=(name,), name=name, version="next")
    with pytest.raises(BundlesClash, match=r"\[serve.chain\] both hold") as refused:
        project.packed(Project(serve=Serve(bundles=(str(second),), chain=chain)), linear_bundle)
    assert "name the chain otherwise" in refused.value.hint
