"""A SeldonDeployment (machinelearning.seldon.io/v1) that runs the same image with the same settings."""

from __future__ import annotations

from typing import Any

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.release.release import Object, Release
from wherry.release.rendering.pods import bounds, kept, pod_of, workload_of


def seldon_deployment(release: Release, project: Project, manifest: Manifest) -> list[Object]:
    """What the pods need, and the SeldonDeployment with one predictor of one model.

    Seldon's orchestrator asks by protocol v2 (the Open Inference Protocol) for the model that its graph names, so the
    graph and its container are called as the model is, as far as a container may be.
    """
    fewest, most, target = bounds(release)
    pod: dict[str, Any] = {"spec": pod_of(release, release.name)}
    # Seldon's definition knows no `sleep`; the service itself goes on answering for a while after SIGTERM.
    del pod["spec"]["containers"][0]["lifecycle"]
    if target is not None:
        metric = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}
        pod["hpaSpec"] = {
            "minReplicas": fewest,
            "maxReplicas": most,
            "metricsv2": [{"type": "Resource", "resource": metric}],
        }
    made = workload_of(release)["metadata"]
    graph = {
        "name": release.name,
        "type": "MODEL",
        "endpoint": {"type": "REST", "httpPort": project.serve.port, "service_port": project.serve.port},
        "children": [],
    }
    return [
        *kept(release),
        {
            "apiVersion": "machinelearning.seldon.io/v1",
            "kind": "SeldonDeployment",
            "metadata": {
                "name": release.name,
                "namespace": release.namespace,
                "labels": made["labels"],
                "annotations": made["annotations"],
            },
            "spec": {
                "name": release.name,
                "protocol": "v2",
                "transport": "rest",
                "predictors": [
                    {
                        "name": "default",
                        "replicas": fewest,
                        "labels": made["labels"],
                        "graph": graph,
                        "componentSpecs": [pod],
                    },
                ],
            },
        },
    ]
