"""Google Kubernetes Engine: the cluster, a repository for images, and no more rights than building takes."""

from __future__ import annotations

from wherry.deploy.tools.plan import Command, Plan, Wanted, given

SERVICES = ("container.googleapis.com", "artifactregistry.googleapis.com", "cloudbuild.googleapis.com")
REPOSITORY = "models"
PUSHING = "roles/artifactregistry.writer"


class Gke:
    """Contexts are called gke_PROJECT_PLACE_NAME."""

    program = "gcloud"
    takes = frozenset({"nodes", "machine_type", "autopilot", "project", "place", "zonal", "repository", "account"})

    def context(self, wanted: Wanted) -> str:
        return f"gke_{wanted.project}_{wanted.place}_{wanted.name}"

    def create(self, wanted: Wanted) -> Plan:
        project, region = ("--project", wanted.project), region_of(wanted)
        repository, member = wanted.repository or REPOSITORY, f"serviceAccount:{wanted.account}"
        repositories, at = ("gcloud", "artifacts", "repositories"), ("--location", region, *project)
        commands = [
            Command(
                ("gcloud", "services", "enable", *SERVICES, *project), "the services that clusters and images need"
            ),
            Command(("gcloud", "container", "clusters", *created(wanted), *project), "the cluster; takes minutes"),
            Command(
                (*repositories, "create", repository, "--repository-format", "docker", *at),
                "a repository for images; fails where it is there already",
                must=False,
            ),
            Command(
                ("gcloud", "auth", "configure-docker", f"{region}-docker.pkg.dev", "--quiet"),
                "lets this machine push to it",
            ),
        ]
        if wanted.account:
            commands.append(
                Command(
                    (*repositories, "add-iam-policy-binding", repository, *at, "--member", member, "--role", PUSHING),
                    "the least right by which a build may push: to this repository alone",
                )
            )
        commands.append(
            Command(
                ("gcloud", "container", "clusters", "get-credentials", wanted.name, *place(wanted), *project),
                "its context, into your kubeconfig",
            )
        )
        return Plan(
            self.context(wanted),
            tuple(commands),
            notes=(
                f"images: wherry deploy --image {region}-docker.pkg.dev/{wanted.project}/{repository}/NAME",
                "metrics-server comes with it; the cluster costs money until it is deleted: wherry cluster delete",
            ),
        )

    def delete(self, wanted: Wanted) -> Plan:
        kubectl, project = ("kubectl", "--context", self.context(wanted)), ("--project", wanted.project)
        everywhere = ("--all-namespaces",)
        return Plan(
            self.context(wanted),
            (
                Command(
                    (*kubectl, "delete", "services", *everywhere, "--field-selector", "spec.type=LoadBalancer"),
                    "load balancers, which would outlive the cluster",
                    must=False,
                ),
                Command((*kubectl, "delete", "ingresses", *everywhere, "--all"), "those of Ingresses", must=False),
                Command(
                    (*kubectl, "delete", "persistentvolumeclaims", *everywhere, "--all", "--timeout", "120s"),
                    "claims, whose disks would outlive the cluster",
                    must=False,
                ),
                Command(
                    ("gcloud", "container", "clusters", "delete", wanted.name, *place(wanted), *project, "--quiet"),
                    "the cluster",
                ),
                *(
                    Command((*words, *project), f"what may still cost money: {what}", must=False)
                    for words, what in LEFT
                ),
            ),
        )

    def listing(self, wanted: Wanted) -> Command:
        return Command(
            ("gcloud", "container", "clusters", "list", *given(project=wanted.project)), "the clusters of GKE"
        )

    def dashboard(self, wanted: Wanted) -> Command | None:
        page = "https://console.cloud.google.com/kubernetes/clusters/details"
        return Command(("echo", f"{page}/{wanted.place}/{wanted.name}?project={wanted.project}"), "the console's page")


LEFT = (
    (("gcloud", "compute", "forwarding-rules", "list"), "load balancers"),
    (("gcloud", "compute", "addresses", "list"), "addresses"),
    (("gcloud", "compute", "disks", "list"), "disks"),
    (("gcloud", "artifacts", "repositories", "list"), "images"),
)


def created(wanted: Wanted) -> tuple[str, ...]:
    if wanted.autopilot:
        return ("create-auto", wanted.name, *place(wanted))
    return ("create", wanted.name, *place(wanted), *given(num_nodes=wanted.nodes, machine_type=wanted.machine_type))


def place(wanted: Wanted) -> tuple[str, ...]:
    return ("--zone" if wanted.zonal else "--region", wanted.place)


def region_of(wanted: Wanted) -> str:
    """The region that a zone is in: europe-north1 of europe-north1-a."""
    return wanted.place.rpartition("-")[0] if wanted.zonal else wanted.place
