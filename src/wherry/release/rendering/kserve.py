"""A KServe InferenceService (serving.kserve.io/v1beta1) that runs the same image with the same settings."""

from __future__ import annotations

from typing import Any

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.release.release import Object, Release
from wherry.release.rendering.pods import bounds, kept, pod_of, workload_of

CONTAINER = "kserve-container"  # the name by which KServe finds the container that serves


def inference_service(release: Release, project: Project, manifest: Manifest) -> list[Object]:
    """What the pods need, and the InferenceService: KServe makes Service, autoscaler and routes itself.

    It is asked under its own name by KServe's v1 and v2 protocols, which every service of wherry answers. RawDeployment
    is the mode that needs no Knative; KServe of today calls it Standard and takes both names.
    """
    fewest, most, target = bounds(release)
    predictor: dict[str, Any] = {"minReplicas": fewest, "maxReplicas": most}
    annotations = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    if target is not None:
        annotations["serving.kserve.io/autoscalerClass"] = "hpa"
        predictor |= {"scaleMetric": "cpu", "scaleTarget": target}
    made = workload_of(release)["metadata"]
    return [
        *kept(release),
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": release.name,
                "namespace": release.namespace,
                "labels": made["labels"],
                "annotations": {**annotations, **made["annotations"]},
            },
            "spec": {"predictor": {**predictor, **pod_of(release, CONTAINER)}},
        },
    ]
