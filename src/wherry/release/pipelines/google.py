"""Google's side of a pipeline: the build's file, the credentials that its steps take, the least rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from wherry.contract.events import Note
from wherry.release.pipelines.steps import IMAGE, Delivery, Google

CLI = "gcr.io/google.com/cloudsdktool/google-cloud-cli:549.0.0-slim"
FILE = "cloudbuild.yaml"
# The steps share /workspace alone, so what is installed lies there.
PYTHON = "/workspace/.python"
ENVIRON = (f"PYTHONUSERBASE={PYTHON}", f"PATH={PYTHON}/bin:/usr/local/bin:/usr/bin:/bin")
CREDENTIALS = "/credentials"
# What needs them; training and tests run before, and never see them.
ALLOWED = frozenset({"gate", "build", "deploy"})
ISSUER = "https://token.actions.githubusercontent.com"


def cloud_build(delivery: Delivery, google: Google) -> dict[str, Any]:
    """The build: each step a container, credentials in a volume that only the steps after the tests see."""
    volumes = [{"name": "credentials", "path": CREDENTIALS}]
    access = {
        "id": "credentials",
        "name": CLI,
        "env": [f"CREDENTIALS={CREDENTIALS}"],
        "volumes": volumes,
        "script": f"#!/bin/sh\n{credentials(delivery, google)}",
    }
    made: list[dict[str, Any]] = []
    for step in delivery.steps:
        environ, own = [*ENVIRON], {}
        if step.id in ALLOWED:
            environ += [f"KUBECONFIG={CREDENTIALS}/kubeconfig", f"DOCKER_CONFIG={CREDENTIALS}"]
            own = {"volumes": volumes}
            if access not in made:
                made.append(access)  # as late as can be: its token lasts an hour
        made.append({"id": step.id, "name": IMAGE, "env": environ, **own, "script": f"#!/bin/sh\n{step.command}\n"})
    return {
        "steps": made,
        "timeout": "3600s",
        "serviceAccount": f"projects/{google.project}/serviceAccounts/{email(delivery, google)}",
        "options": {"logging": "CLOUD_LOGGING_ONLY"},
    }


def credentials(delivery: Delivery, google: Google) -> str:
    """A script that leaves a kubeconfig and a Docker configuration in $CREDENTIALS: tokens that last an hour."""
    asked = f"gcloud container clusters describe {google.cluster} --location {google.place} --project {google.project}"
    context = {"cluster": "gke", "user": "pipeline", "namespace": delivery.namespace}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": delivery.context,
        "contexts": [{"name": delivery.context, "context": context}],
        "clusters": [
            {"name": "gke", "cluster": {"server": "https://$endpoint", "certificate-authority-data": "$authority"}}
        ],
        "users": [{"name": "pipeline", "user": {"token": "$token"}}],
    }
    return f"""set -eu
umask 077
token=$(gcloud auth print-access-token)
endpoint=$({asked} --format 'value(endpoint)')
authority=$({asked} --format 'value(masterAuth.clusterCaCertificate)')
login=$(printf 'oauth2accesstoken:%s' "$token" | base64 | tr -d '\\n')
mkdir -p "$CREDENTIALS"
cat > "$CREDENTIALS/config.json" <<END
{{"auths": {{"{delivery.registry}": {{"auth": "$login"}}}}}}
END
cat > "$CREDENTIALS/kubeconfig" <<END
{json.dumps(kubeconfig)}
END
"""


def email(delivery: Delivery, google: Google) -> str:
    return f"{delivery.account}@{google.project}.iam.gserviceaccount.com"


def rights(delivery: Delivery, google: Google) -> Iterator[Note]:
    """An account of the pipeline's own, and the least that it may: see the cluster, push to one repository, log."""
    project, member = f"--project {google.project}", f"serviceAccount:{email(delivery, google)}"
    bind = f"gcloud projects add-iam-policy-binding {google.project} --member {member} --condition None"
    yield Note("an account of its own", hint=f"gcloud iam service-accounts create {delivery.account} {project}")
    yield Note("may find the cluster, and nothing in it yet", hint=f"{bind} --role roles/container.clusterViewer")
    yield Note("may write its log", hint=f"{bind} --role roles/logging.logWriter")
    parts = delivery.image.split("/")
    if delivery.registry.endswith("-docker.pkg.dev") and len(parts) > 2:
        place = delivery.registry.removesuffix("-docker.pkg.dev")
        yield Note(
            "may push to this repository alone",
            hint=f"gcloud artifacts repositories add-iam-policy-binding {parts[2]} --project {parts[1]} "
            f"--location {place} --member {member} --role roles/artifactregistry.writer",
        )
    yield Note(
        "may deploy in this namespace alone, once the Role is there",
        hint=f"kubectl -n {delivery.namespace} create rolebinding {delivery.account}-google "
        f"--role {delivery.account} --user {email(delivery, google)}",
    )


def trigger(delivery: Delivery, google: Google) -> Note:
    """What makes Cloud Build run it at every push to the branch."""
    owner, _, name = delivery.slug.partition("/")
    return Note(
        f"Cloud Build runs it at every push to {delivery.branch}",
        hint=f"gcloud builds triggers create github --name {delivery.account} --project {google.project} "
        f"--repo-owner {owner} --repo-name {name} --branch-pattern '^{delivery.branch}$' --build-config {FILE} "
        f"--service-account projects/{google.project}/serviceAccounts/{email(delivery, google)}",
    )


def federation(delivery: Delivery, google: Google) -> Iterator[Note]:
    """How GitHub's jobs of this one repository become the account, without a key that could be stolen."""
    pool = f"--project {google.project} --location global"
    yield Note(
        "GitHub's tokens are known here",
        hint=f"gcloud iam workload-identity-pools create github {pool}",
    )
    yield Note(
        "those of this repository alone",
        hint=f"gcloud iam workload-identity-pools providers create-oidc github {pool} --workload-identity-pool github "
        f"--issuer-uri {ISSUER} --attribute-mapping google.subject=assertion.sub,"
        f"attribute.repository=assertion.repository --attribute-condition \"assertion.repository=='{delivery.slug}'\"",
    )
    yield Note(
        "and may act as the account",
        hint=f"gcloud iam service-accounts add-iam-policy-binding {email(delivery, google)} "
        f"--project {google.project} --role roles/iam.workloadIdentityUser --member principalSet://iam.googleapis.com/"
        f"projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/github/attribute.repository/{delivery.slug}",
    )
    yield Note(
        "the workflow is told who vouches for it",
        hint="gh variable set WORKLOAD_IDENTITY_PROVIDER --body "
        "projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/github/providers/github",
    )
