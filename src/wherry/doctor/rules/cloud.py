"""What somebody types to a cloud: roles, clusters, and their end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wherry.doctor.commands import Command
from wherry.doctor.project import Project
from wherry.doctor.rule import Place, rule

CREATES = re.compile(r"\b(gcloud container clusters create(-auto)?|eksctl create cluster|az aks create)\b")
DELETES = re.compile(r"\b(gcloud container clusters delete|eksctl delete cluster|az aks delete)\b")
WIDE = re.compile(r"roles/(container\.(developer|admin)|editor|owner)\b")


@rule(
    "dangerous",
    consequence="whoever changes the pipeline can change every namespace of every cluster in the project",
    fix="a role in one namespace (a RoleBinding for the account), and roles/container.clusterViewer on the project",
    source="https://cloud.google.com/kubernetes-engine/docs/how-to/role-based-access-control",
)
def project_wide_role(project: Project) -> Iterator[Place]:
    """a role on the whole project, where one namespace would do"""
    for command in project.commands:
        if (
            "add-iam-policy-binding" in command.text
            and " projects " in command.text
            and (found := WIDE.search(command.text))
        ):
            yield Place(command.file, command.line, found[0])


@rule(
    "broken",
    consequence="projects since mid-2024 build under another account: the role lands on one that nothing uses",
    fix="name the account that builds: gcloud builds get-default-service-account",
    source="https://cloud.google.com/build/docs/cloud-build-service-account-updates",
)
def old_build_account(project: Project) -> Iterator[Place]:
    """the build's account is taken to be PROJECT_NUMBER@cloudbuild"""
    for command in project.commands:
        if "@cloudbuild.gserviceaccount.com" in command.text:
            yield Place(command.file, command.line, command.text[:100])


@rule(
    "misleading",
    consequence="a region has several zones, and the number is for each: three nodes are paid for where one was meant",
    fix="--zone for one node, or say the number that is meant",
    source="https://cloud.google.com/kubernetes-engine/docs/concepts/regional-clusters",
)
def nodes_for_each_zone(project: Project) -> Iterator[Place]:
    """--num-nodes of a regional cluster counts in each zone"""
    for command in project.commands:
        if (
            CREATES.search(command.text)
            and re.search(r"--region\b", command.text)
            and re.search(r"--num-nodes\b", command.text)
        ):
            yield Place(command.file, command.line, command.text[:100])


def made(project: Project) -> list[Command]:
    return [command for command in project.commands if CREATES.search(command.text)]


@rule(
    "misleading",
    consequence="it goes on costing when everybody has forgotten it",
    fix="write down how it is removed: gcloud container clusters delete NAME",
    source="https://cloud.google.com/kubernetes-engine/docs/how-to/deleting-a-cluster",
)
def no_teardown(project: Project) -> Iterator[Place]:
    """a cluster is made, and nothing says how it is removed"""
    if not any(DELETES.search(command.text) for command in project.commands):
        for command in made(project):
            yield Place(command.file, command.line, command.text[:100])


@rule(
    "misleading",
    consequence="the load balancers of its Services outlive it, and go on costing",
    fix="delete the Services first: kubectl delete -f k8s",
    source="https://cloud.google.com/kubernetes-engine/docs/how-to/deleting-a-cluster",
)
def cluster_removed_first(project: Project) -> Iterator[Place]:
    """the cluster is deleted before its Services"""
    public = any(
        document.kind == "Service" and (document.root.get("spec") or {}).get("type") == "LoadBalancer"
        for document in project.documents
    ) or any("LoadBalancer" in command.text for command in project.commands)
    for command in project.commands:
        if DELETES.search(command.text) and public:
            before = [each for each in project.commands if each.file == command.file and each.line < command.line]
            if not any(re.search(r"kubectl delete\b", each.text) for each in before):
                yield Place(command.file, command.line, command.text[:100])
