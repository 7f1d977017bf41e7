"""A workflow of GitHub Actions: actions pinned by version, no more permissions than the delivery takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wherry.contract.events import Note
from wherry.release.pipelines.google import credentials, email
from wherry.release.pipelines.steps import Delivery

RUNNER = "ubuntu-24.04"
CHECKOUT = "actions/checkout@v4.2.2"
PYTHON = "actions/setup-python@v5.3.0"
GOOGLE = "google-github-actions/auth@v2.1.7"
GCLOUD = "google-github-actions/setup-gcloud@v2.1.4"
OWN_REGISTRY = "ghcr.io"
FIRST = "gate"  # the first step that needs credentials; before it, only the checkout and training have run


def file(delivery: Delivery) -> str:
    return f".github/workflows/{delivery.account}.yaml"


def workflow(delivery: Delivery) -> dict[str, Any]:
    """One job; it runs at a push to the branch, by its schedule and by hand, never twice at a time."""
    job = {
        "runs-on": RUNNER,
        "timeout-minutes": 60,
        "permissions": permissions(delivery),
        "steps": list(steps(delivery)),
    }
    return {
        "name": delivery.account,
        "on": {
            "push": {"branches": [delivery.branch]},
            "schedule": [{"cron": delivery.schedule}],
            "workflow_dispatch": {},
        },
        "permissions": {},
        "concurrency": {"group": delivery.account, "cancel-in-progress": False},
        "jobs": {"deliver": job},
    }


def permissions(delivery: Delivery) -> dict[str, str]:
    """What the job's own token may: read the sources, and what its way to the cluster and the registry takes."""
    needed = {"contents": "read"}
    if delivery.google:
        needed["id-token"] = "write"
    if delivery.registry == OWN_REGISTRY:
        needed["packages"] = "write"
    return needed


def steps(delivery: Delivery) -> Iterator[dict[str, Any]]:
    yield {"uses": CHECKOUT, "with": {"persist-credentials": False}}
    yield {"uses": PYTHON, "with": {"python-version": "3.11"}}
    for step in delivery.steps:
        if step.id == FIRST:
            yield from access(delivery)
        yield {"name": step.id, "run": step.command}


def access(delivery: Delivery) -> Iterator[dict[str, Any]]:
    """The credentials of cluster and registry, outside the folder that holds the sources."""
    if delivery.google:
        account = email(delivery, delivery.google)
        vouched = {"workload_identity_provider": "${{ vars.WORKLOAD_IDENTITY_PROVIDER }}", "service_account": account}
        yield {"uses": GOOGLE, "with": {**vouched, "create_credentials_file": True}}
        yield {"uses": GCLOUD}
        told = (
            'printf "KUBECONFIG=%s/kubeconfig\\nDOCKER_CONFIG=%s\\n" "$CREDENTIALS" "$CREDENTIALS" >> "$GITHUB_ENV"\n'
        )
        place = 'CREDENTIALS="$RUNNER_TEMP/credentials"\n'
        yield {"name": "credentials", "run": f"{place}{credentials(delivery, delivery.google)}{told}"}
        return
    yield {
        "name": "cluster",
        "env": {"CONTENT": "${{ secrets.KUBECONFIG }}"},
        "run": 'umask 077\nprintf "%s" "$CONTENT" > "$RUNNER_TEMP/kubeconfig"\n'
        'printf "KUBECONFIG=%s/kubeconfig\\n" "$RUNNER_TEMP" >> "$GITHUB_ENV"\n',
    }
    own = delivery.registry == OWN_REGISTRY
    yield {
        "name": "registry",
        "env": {
            "NAME": "${{ github.actor }}" if own else "${{ secrets.REGISTRY_USER }}",
            "PASSWORD": "${{ secrets.GITHUB_TOKEN }}" if own else "${{ secrets.REGISTRY_PASSWORD }}",
        },
        "run": f'printf "%s" "$PASSWORD" | docker login {delivery.registry} --username "$NAME" --password-stdin\n',
    }


def secrets(delivery: Delivery) -> Iterator[Note]:
    """What GitHub has to be told where the cluster is not Google's."""
    yield Note(
        "the workflow reaches the cluster by a kubeconfig of the pipeline's account, with this token",
        hint=f"kubectl -n {delivery.namespace} create token {delivery.account} --duration 720h\n"
        "gh secret set KUBECONFIG < FILE",
    )
    if delivery.registry != OWN_REGISTRY:
        yield Note(
            f"and may push to {delivery.registry}",
            hint="gh secret set REGISTRY_USER && gh secret set REGISTRY_PASSWORD",
        )
