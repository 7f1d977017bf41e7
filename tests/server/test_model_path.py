"""What a container is told of its model: another folder, another name, and the one digest that may be loaded."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from serving import Child, ask, child


@pytest.fixture
def bundle(linear_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(linear_bundle, tmp_path / "image" / "bundle"))


@pytest.fixture
def elsewhere(linear_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(linear_bundle, tmp_path / "model" / "iris"))


def manifest_of(bundle: Path) -> dict[str, str]:
    return dict(json.loads((bundle / "manifest.json").read_bytes()))


def refused(bundle: Path, **environ: str) -> Child:
    """The service once it has ended by itself."""
    service = Child(bundle, environ)
    try:
        service.process.wait(60)
    finally:
        service.process.kill()
        service.log.close()
    return service


@pytest.mark.parametrize("workers", ["1", "2"])
def test_path_and_name_act(bundle: Path, elsewhere: Path, workers: str) -> None:
    """The image's own bundle is not even there: what the path names is loaded, and answers to the name."""
    packed = manifest_of(bundle)
    told = {"MODEL_NAME": "breast_model", "WHERRY_MODEL_DIGEST": packed["digest"], "WHERRY_SERVE_WORKERS": workers}
    with child(bundle.with_name("nothing"), MODEL_PATH=str(elsewhere), **told) as service:
        assert ask(service.address, "GET", "/v2/models/breast_model").status == 200
        assert ask(service.address, "GET", f"/v2/models/{packed['name']}").status == 404
        answer = ask(service.address, "POST", "/predict", json.loads((bundle / "example.json").read_bytes()))
        assert answer.status == 200
        assert answer.headers["x-model-digest"] == packed["digest"]
    with child(bundle) as service:  # the control
        assert ask(service.address, "GET", f"/v2/models/{packed['name']}").status == 200
        assert ask(service.address, "GET", "/v2/models/breast_model").status == 404


def test_another_model_than_the_released_one_is_refused_before_a_port_opens(
    bundle: Path, breast_cancer_bundle: Path
) -> None:
    wanted, found = manifest_of(bundle)["digest"], manifest_of(breast_cancer_bundle)["digest"]
    service = refused(bundle, MODEL_PATH=str(breast_cancer_bundle), WHERRY_MODEL_DIGEST=wanted)
    assert service.process.returncode == 1
    assert wanted in service.said
    assert found in service.said
    assert str(breast_cancer_bundle) in service.said
    assert "hint: deploy the new model" in service.said
    with contextlib.suppress(ConnectionRefusedError):
        ask(service.address, "GET", "/livez")
        pytest.fail("a port was opened")
    with child(bundle, MODEL_PATH=str(breast_cancer_bundle), WHERRY_MODEL_DIGEST=found):
        pass  # the control: the same folder, where it is what is expected


def test_a_path_that_holds_no_bundle_is_named(bundle: Path, tmp_path: Path) -> None:
    service = refused(bundle, MODEL_PATH=str(tmp_path / "missing"))
    assert service.process.returncode == 2
    assert f"no bundle in {tmp_path / 'missing'}" in service.said
