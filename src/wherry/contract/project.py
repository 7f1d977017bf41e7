"""The project's settings, declared once: flags, environment names, `wherry config`, the reference derive from here.

Each field holds its default, and its one-line help in `Meta`. A table is a struct; a nested table a field that is one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from wherry.contract.cluster import Ingress, Quantity, Resources, Schedule, Scrape, Service
from wherry.contract.names import ADMIN_PORT, SERVING_PORT
from wherry.contract.pictures import PictureModel
from wherry.contract.reply import Reply
from wherry.contract.scaling import Autoscale
from wherry.contract.views import View


class Shadow(Struct, frozen=True, kw_only=True):
    """Another version of the model that gets copies of requests; `wherry deploy --shadow` says where it is."""

    url: Annotated[str, Meta(description="where it answers, like http://iris-shadow; empty: there is none")] = ""
    share: Annotated[float, Meta(ge=0, le=1, description="share of the requests that are copied to it")] = 0.1
    rate: Annotated[float, Meta(gt=0, le=10_000, description="copies a second at most, of each process")] = 50.0


class Chain(Struct, frozen=True, kw_only=True):
    """Models of the service that answer one after the other, as a model of its own."""

    steps: Annotated[
        tuple[str, ...], Meta(description="its models in their order, each as NAME or NAME:VERSION; empty: no chain")
    ] = ()
    name: Annotated[str, Meta(min_length=1, description="name that it is asked by")] = "chain"
    version: Annotated[str, Meta(min_length=1, description="version that it is asked by")] = "1"


class Serve(Struct, frozen=True, kw_only=True):
    """The service itself."""

    host: Annotated[str, Meta(description="address to listen on; an image listens on 0.0.0.0")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535, description="serving port; also read from PORT")] = SERVING_PORT
    admin_port: Annotated[int, Meta(ge=1, le=65535, description="port of /livez, /readyz and /metrics")] = ADMIN_PORT
    workers: Annotated[int, Meta(ge=1, le=64, description="worker processes")] = 1
    token_file: Annotated[str, Meta(description="file with one accepted token a line; empty: no token needed")] = ""
    tls_cert: Annotated[str, Meta(description="PEM file with the certificate chain; empty: plain HTTP")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with the certificate's key")] = ""
    cors_origins: Annotated[
        tuple[str, ...], Meta(description="origins whose pages may ask, like https://example.org; *: all, if no token")
    ] = ()
    access_log: Annotated[
        float, Meta(ge=0, le=1, description="share of the requests logged as a line of JSON; errors always, unless 0")
    ] = 0.0
    collector: Annotated[
        str,
        Meta(
            pattern=r"^(https?://([^\s/:@]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?(/\S*)?)?$",
            description="OpenTelemetry collector, like http://collector:4318; empty: the one that OTEL_ variables name",
        ),
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="further Host names answered on a loopback address")
    ] = ()
    page: Annotated[bool, Meta(description="show a page to browsers at /")] = True
    docs: Annotated[bool, Meta(description="answer /docs and /openapi.json")] = True
    probabilities: Annotated[
        Literal["asked", "always", "never"], Meta(description="when replies carry class probabilities")
    ] = "asked"
    unknown_fields: Annotated[
        Literal["refuse", "ignore"], Meta(description="what happens to a field that is no column")
    ] = "refuse"
    defaults: Annotated[
        dict[str, float | int | str | bool | None], Meta(description="value of a column that a record leaves out")
    ] = {}
    drain_seconds: Annotated[
        float, Meta(ge=0, le=300, description="on SIGTERM: seconds of answering new requests while not ready")
    ] = 5.0
    request_seconds: Annotated[float, Meta(gt=0, le=3600, description="deadline of one request")] = 30.0
    hang_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="with workers: one that does nothing for so long is replaced")
    ] = 30.0
    scoring: Annotated[
        Literal["auto", "loop", "thread"],
        Meta(description="where the model is called: in the event loop, in a thread, or as its cost at the start says"),
    ] = "auto"
    batch_rows: Annotated[int, Meta(ge=1, le=65536, description="rows in one call of the model, at most")] = 1024
    body_limit: Annotated[int, Meta(ge=1024, description="largest body in bytes")] = 10 * 1024 * 1024
    bundles: Annotated[
        tuple[str, ...], Meta(description="folders of further bundles to serve, each by its own name and version")
    ] = ()
    chain: Chain = Chain()
    shadow: Shadow = Shadow()


class StoreSecret(Struct, frozen=True, kw_only=True):
    """The Secret of a cluster that says how to reach the database; wherry names it and never makes it."""

    name: Annotated[str, Meta(description="Secret that holds the password of store.url; empty: none is needed")] = ""
    password: Annotated[str, Meta(description="key of the password in that Secret")] = "password"
    url: Annotated[
        str,
        Meta(description="key of a whole url in that Secret, password included; store.url then says where it leads"),
    ] = ""


class Database(Struct, frozen=True, kw_only=True):
    """A database of the service's own, beside it in a compose file or a cluster: for trials."""

    kind: Annotated[
        Literal["", "mysql", "mariadb", "postgres"], Meta(description="database to run beside the service; empty: none")
    ] = ""
    image: Annotated[str, Meta(description="its image; empty: the official one")] = ""
    size: Annotated[Quantity, Meta(description="size of its volume in a cluster")] = "1Gi"


class Store(Struct, frozen=True, kw_only=True):
    """Where predictions are kept."""

    enabled: Annotated[
        bool | None, Meta(description="keep predictions; unset: on a desk yes, in an image only with a url")
    ] = None
    url: Annotated[str, Meta(description="database; empty: SQLite in .wherry/")] = ""
    mode: Annotated[
        Literal["durable", "strict", "fast"], Meta(description="what a reply promises about its stored row")
    ] = "durable"
    spool_limit: Annotated[
        int, Meta(ge=1024 * 1024, description="bytes that rows not yet in the database may take; 80 % of it is used")
    ] = 256 * 1024 * 1024
    when_full: Annotated[
        Literal["refuse", "drop"] | None,
        Meta(description="when no more rows can be kept: refuse predictions, or drop rows; unset: drop in fast mode"),
    ] = None
    client_may_skip: Annotated[
        bool, Meta(description='let a request say "store": false beside its record or rows, and keep it out')
    ] = False
    inputs: Annotated[
        Literal["whole", "off", "hashed", "named"],
        Meta(
            description="what is kept of a request's cells: all, none, a keyed hash of each, or those of some columns"
        ),
    ] = "whole"
    input_columns: Annotated[tuple[str, ...], Meta(description='columns that are kept where inputs = "named"')] = ()
    hash_key_file: Annotated[
        str, Meta(description='file with the key of inputs = "hashed"; empty: on a desk, one made in .wherry/')
    ] = ""
    keep_days: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="remove predictions that are older; unset: keep them")
    ] = None
    keep_rows: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="remove all but the newest so many; unset: keep them")
    ] = None
    keep_bytes: Annotated[
        Annotated[int, Meta(ge=1024 * 1024)] | None,
        Meta(description="remove all but the newest that take so many bytes; unset: keep them"),
    ] = None
    views: Annotated[
        dict[str, View], Meta(description="views beside the table of predictions, by name: `columns`, and a `model`")
    ] = {}
    secret: StoreSecret = StoreSecret()
    database: Database = Database()


class Image(Struct, frozen=True, kw_only=True):
    """The container image."""

    base: Annotated[str, Meta(description="base image; empty: python:X.Y-slim, X.Y being the bundle's")] = ""
    builder: Annotated[
        Literal["auto", "direct", "docker", "buildah"],
        Meta(description="what builds the image: direct is wherry itself, without a daemon"),
    ] = "auto"
    tag: Annotated[str, Meta(description="tag; empty: derived from the content")] = ""
    attest: Annotated[
        bool | None,
        Meta(description="attach SBOM and provenance to a pushed image; unset: where its registry takes them"),
    ] = None
    sign: Annotated[str, Meta(description="file of the private key that signs a pushed image; empty: not signed")] = ""
    vulnerabilities: Annotated[
        str, Meta(description="folder or zip of known vulnerabilities in OSV's format; empty: none are looked for")
    ] = ""
    severity: Annotated[
        Literal["low", "medium", "high", "critical", "never"],
        Meta(description="from which severity on a known vulnerability keeps the image from being built"),
    ] = "high"
    waived: Annotated[
        tuple[str, ...], Meta(description="names of vulnerabilities that are looked at and accepted")
    ] = ()


class Canary(Struct, frozen=True, kw_only=True):
    """What `wherry deploy --canary` lets a new version do before it is taken away again."""

    seconds: Annotated[float, Meta(ge=5, le=86400, description="how long it is watched beside the stable version")] = 60
    errors: Annotated[
        float, Meta(ge=0, le=1, description="share of its requests that may fail beyond the stable version's")
    ] = 0.01
    slower: Annotated[float, Meta(ge=1, description="how many times the stable version's p99 its own may be")] = 2.0
    differing: Annotated[
        float, Meta(ge=0, le=1, description="share of the golden rows it may answer otherwise than the stable version")
    ] = 0.1


class BlueGreen(Struct, frozen=True, kw_only=True):
    """What `wherry deploy --blue-green` does with the pods of the version before."""

    keep: Annotated[
        Annotated[float, Meta(ge=0, le=86400)] | None,
        Meta(description="seconds that they stay as the way back while the deploy waits; without: until the next one"),
    ] = None


class ModelVolume(Struct, frozen=True, kw_only=True):
    """The bundle on a volume of the cluster's, in place of the image; pods load it only with the digest released."""

    claim: Annotated[str, Meta(description="PersistentVolumeClaim that holds it; empty: the image does")] = ""
    host_path: Annotated[
        str, Meta(pattern=r"^(/[^\s]*)?$", description="folder of the node that holds it; local clusters only")
    ] = ""
    path: Annotated[
        str, Meta(description="its folder in the volume; empty: named by the first 12 digits of its digest")
    ] = ""


class Deploy(Struct, frozen=True, kw_only=True):
    """The cluster."""

    image: Annotated[str, Meta(description="image name to build, push and run")] = ""
    name: Annotated[str, Meta(description="name of the objects; empty: the bundle's")] = ""
    context: Annotated[str, Meta(description="kubeconfig context; empty: the current one, if local")] = ""
    namespace: Annotated[str, Meta(description="namespace; empty: the context's")] = ""
    verify_key: Annotated[
        str, Meta(description="file of the public key whose owner must have signed the image; empty: none")
    ] = ""
    replicas: Annotated[
        Annotated[int, Meta(ge=0, le=1000)] | None, Meta(description="fixed number of replicas, and no autoscaler")
    ] = None
    egress: Annotated[tuple[str, ...], Meta(description="CIDRs or HOST:PORT the pods may call")] = ()
    config_map: Annotated[
        str,
        Meta(description="ConfigMap of yours that pods read last: MODEL_NAME, MODEL_PATH, settings by WHERRY_ names"),
    ] = ""
    model: ModelVolume = ModelVolume()
    service: Service = Service()
    ingress: Ingress = Ingress()
    autoscale: Autoscale = Autoscale()
    resources: Resources = Resources()
    metrics: Scrape = Scrape()
    canary: Canary = Canary()
    blue_green: BlueGreen = BlueGreen()
    schedule: Annotated[
        dict[str, Schedule], Meta(description="work at set times, by name: `cron`, `command` and what is in the guide")
    ] = {}


class Capacity(Struct, frozen=True, kw_only=True):
    """What one replica was measured to do: `wherry advise` writes it, `wherry forecast` reads it."""

    knee: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="highest requests a second at the objective")
    ] = None
    peak: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="highest requests a second that the settings are for")
    ] = None
    slo: Annotated[str, Meta(description="the objective, as p99<100ms,errors<0.1%")] = "p99<100ms,errors<0.1%"
    cost: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="CPU of one request, in millicore-seconds")
    ] = None
    idle: Annotated[Annotated[float, Meta(ge=0)] | None, Meta(description="CPU without load, in millicores")] = None
    start_seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="from the creation of a pod to its readiness")
    ] = None


class Model(Struct, frozen=True, kw_only=True):
    """What `wherry pack` is told of a model whose file does not say it."""

    image: PictureModel = PictureModel()


class Pipeline(Struct, frozen=True, kw_only=True):
    """What trains the model again and delivers it: `wherry gate` and `wherry pipeline` read it."""

    train: Annotated[str, Meta(description="command that trains and leaves ./bundle")] = "python train.py"
    requirements: Annotated[str, Meta(description="requirements file of what training takes; empty: none")] = ""
    holdout: Annotated[str, Meta(description="table of rows that training has not seen, with the right answers")] = (
        "holdout.csv"
    )
    margin: Annotated[
        float,
        Meta(description="by how much a new model must be better than the one that serves; below 0: may be worse"),
    ] = 0.0
    branch: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/-]+$", description="branch that is delivered")] = "main"
    schedule: Annotated[
        str, Meta(pattern=r"^\S+( \S+){4}$", description="when it is trained again, as cron says it, in UTC")
    ] = "0 4 * * 1"
    repository: Annotated[
        str, Meta(pattern=r"^(https://\S+)?$", description="where the sources are, as https://...; for the CronJob")
    ] = ""


class Project(Struct, frozen=True, kw_only=True):
    """wherry.toml, or [tool.wherry] of pyproject.toml."""

    model: Model = Model()
    serve: Serve = Serve()
    store: Store = Store()
    image: Image = Image()
    deploy: Deploy = Deploy()
    reply: Reply = Reply()
    capacity: Capacity = Capacity()
    pipeline: Pipeline = Pipeline()
