"""The model on a volume: what the objects say then, what the image leaves out, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.errors import SettingsRefused
from wherry.release.composing.file import compose_file
from wherry.release.image import plan
from wherry.release.release import Release, compose
from wherry.release.rendering.helm import chart
from wherry.release.rendering.kserve import inference_service
from wherry.release.rendering.kustomize import base_with_overlays
from wherry.release.rendering.seldon import seldon_deployment
from wherry.release.text import to_yaml

IMAGE = "registry.example/breast@sha256:" + "1" * 64
Declare = Callable[[dict[str, Any]], Project]
CLAIM: dict[str, Any] = {"deploy": {"model": {"claim": "models"}, "config_map": "mlserving-configs"}}
HOST: dict[str, Any] = {"deploy": {"model": {"host_path": "/var/tmp/model", "path": "breast"}}}


def release(project: Project, manifest: Manifest, **changes: Any) -> Release:
    return compose(project, manifest, **{"image": IMAGE, "namespace": "models", "local": True, **changes})


def server_of(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


def held(pod: dict[str, Any]) -> tuple[Any, Any, Any]:
    """What a pod's spec says of the model: its volume, its mount, and the digest that is expected."""
    server = server_of(pod)
    volumes = [one for one in pod["volumes"] if one["name"] == "model"]
    mounts = [one for one in server["volumeMounts"] if one["name"] == "model"]
    digests = [one["value"] for one in server["env"] if one["name"] == "WHERRY_MODEL_DIGEST"]
    return volumes, mounts, digests


def test_objects_with_a_claim_are_the_golden_file(
    manifest: Manifest, declare: Declare, golden: Callable[[str, str], None]
) -> None:
    golden("release-model.yaml", to_yaml(release(declare(CLAIM), manifest, local=False).objects))


def test_pods_mount_the_claim_and_load_no_other_model(manifest: Manifest, declare: Declare) -> None:
    made = release(declare(CLAIM), manifest, local=False)
    pod = made.workload["spec"]["template"]["spec"]
    volume = {"name": "model", "persistentVolumeClaim": {"claimName": "models"}}
    mount = {"name": "model", "mountPath": "/model", "readOnly": True}
    assert held(pod) == ([volume], [mount], [manifest.digest])
    settings, own = (source["configMapRef"]["name"] for source in server_of(pod)["envFrom"])
    assert own == "mlserving-configs"  # the last one wins
    data = made.find("ConfigMap")
    assert data is not None
    assert (data["metadata"]["name"], data["data"]["MODEL_PATH"]) == (settings, f"/model/{manifest.digest[:12]}")
    assert (made.model.claim, made.model.folder) == ("models", manifest.digest[:12])
    # the control: without [deploy.model] nothing of it is there
    plain = release(declare({}), manifest)
    assert held(plain.workload["spec"]["template"]["spec"]) == ([], [], [])
    assert "MODEL_PATH" not in plain.find("ConfigMap")["data"]
    assert len(server_of(plain.workload["spec"]["template"]["spec"])["envFrom"]) == 1


def test_a_model_packed_again_is_another_folder_of_the_same_image(manifest: Manifest, declare: Declare) -> None:
    again = msgspec.structs.replace(manifest, version="2").sealed()
    folders = {release(declare(CLAIM), each).model.folder for each in (manifest, again)}
    assert len(folders) == 2, "an old release must find its own model after a new one was copied"
    first, second = (plan(declare(CLAIM), each) for each in (manifest, again))
    assert first.content_tag == second.content_tag
    assert first.bundle_files == ()
    assert "COPY bundle/" not in first.dockerfile
    assert manifest.digest not in first.dockerfile
    kept = plan(declare({}), manifest)  # the control
    assert kept.content_tag != plan(declare({}), again).content_tag
    assert "COPY bundle/" in kept.dockerfile
    assert "manifest.json" in kept.bundle_files


def test_every_rendering_carries_it(manifest: Manifest, declare: Declare) -> None:
    project = declare(CLAIM)
    made = release(project, manifest)
    wanted = held(made.workload["spec"]["template"]["spec"])
    base = [yaml.safe_load(text) for text in base_with_overlays(made, project, manifest).values()]
    (deployment,) = (each for each in base if each["kind"] == "Deployment")
    assert held(deployment["spec"]["template"]["spec"]) == wanted
    assert held(inference_service(made, project, manifest)[-1]["spec"]["predictor"]) == wanted
    (predictor,) = seldon_deployment(made, project, manifest)[-1]["spec"]["predictors"]
    assert held(predictor["componentSpecs"][0]["spec"]) == wanted
    template = chart(made, project, manifest)["templates/deployment.yaml"]
    assert "claimName: models" in template
    assert "name: mlserving-configs" in template
    assert manifest.digest in template


def test_compose_mounts_the_bundle_that_the_image_does_not_hold(manifest: Manifest, declare: Declare) -> None:
    def volumes(table: dict[str, Any], mounted: str = "") -> list[str]:
        project = declare({**table, "store": {"enabled": False}})
        text = compose_file(project, manifest, image="breast:1", mounted=mounted).text
        return list(yaml.safe_load(text)["services"]["server"].get("volumes", ()))

    assert volumes(CLAIM) == ["./bundle:/srv/bundle:ro"]
    assert volumes(CLAIM, "./packed") == ["./packed:/srv/bundle:ro"]
    assert volumes({}) == []


def test_a_folder_of_the_node_is_for_local_clusters_alone(manifest: Manifest, declare: Declare) -> None:
    made = release(declare(HOST), manifest, create_namespace=True)
    volumes, _, digests = held(made.workload["spec"]["template"]["spec"])
    assert volumes == [{"name": "model", "hostPath": {"path": "/var/tmp/model", "type": "Directory"}}]
    assert digests == [manifest.digest]
    assert made.model.folder == "breast"
    assert any("/var/tmp/model" in note.text and note.warn for note in made.warnings)
    labels = made.find("Namespace")["metadata"]["labels"]
    assert "pod-security.kubernetes.io/enforce" not in labels
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"
    kept = release(declare(CLAIM), manifest, create_namespace=True)  # the control
    assert kept.find("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    with pytest.raises(SettingsRefused, match=r"deploy\.model\.host_path"):
        release(declare(HOST), manifest, local=False)


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"claim": "models", "host_path": "/srv/models"}, "deploy.model.host_path"),
        ({"path": "breast"}, "deploy.model.path"),
        ({"claim": "models", "path": "../secrets"}, "deploy.model.path"),
    ],
)
def test_what_cannot_be_is_refused(table: dict[str, str], path: str, manifest: Manifest, declare: Declare) -> None:
    with pytest.raises(SettingsRefused) as refused:
        release(declare({"deploy": {"model": table}}), manifest)
    assert [problem.path for problem in refused.value.problems] == [path]
