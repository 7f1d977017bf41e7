"""Names that more than one room, or a user's script, relies on: spelled once."""

from __future__ import annotations

import re

# Files
BUNDLE_DIR = "bundle"
MANIFEST_FILE = "manifest.json"
EXAMPLE_FILE = "example.json"
GOLDEN_FILE = "golden.json"
BASELINE_FILE = "baseline.json"
PROJECT_FILE = "wherry.toml"
LOCK_FILE = "wherry.lock"
STATE_DIR = ".wherry"

# Ports. 8081 is left to gRPC, as KServe and MLServer have it.
SERVING_PORT = 8080
ADMIN_PORT = 8082

# Environment
ENV_PREFIX = "WHERRY_"
ENV_BUNDLE = "WHERRY_BUNDLE"  # the bundle that the service in an image loads
ENV_MODEL_DIGEST = "WHERRY_MODEL_DIGEST"  # the only model that it may be, where the bundle is not the image's
# As others have them too: the folder of the bundle in place of the image's own, and the name it answers to.
ENV_MODEL_PATH, ENV_MODEL_NAME = "MODEL_PATH", "MODEL_NAME"
ENV_TOKEN_FILE = "WHERRY_TOKEN_FILE"
ENV_STORE_URL_FILE = "WHERRY_STORE_URL_FILE"
ENV_STORE_PASSWORD_FILE = "WHERRY_STORE_PASSWORD_FILE"  # the password of a url that names none
ENV_SPOOL_ENDS = "WHERRY_SPOOL_ENDS_WITH"  # what the spool's volume ends with: "pod" in a Deployment
ENV_TEST_KUBECONFIG = "WHERRY_TEST_KUBECONFIG"
ENV_TEST_REGISTRY = "WHERRY_TEST_REGISTRY"
# Read by somebody, but not settings: never warned about as unknown.
ENV_KNOWN = frozenset(
    {
        *(ENV_BUNDLE, ENV_TOKEN_FILE, ENV_STORE_URL_FILE, ENV_STORE_PASSWORD_FILE, ENV_SPOOL_ENDS, "WHERRY_STORE_URL"),
        *(ENV_MODEL_DIGEST, ENV_TEST_KUBECONFIG, ENV_TEST_REGISTRY),
    }
)

# In an image
IMAGE_BUNDLE = "/srv/bundle"
MODEL_DIR = "/model"  # where a volume with the model is mounted, read-only
IMAGE_USER = 10001
SPOOL_DIR = "/var/spool/wherry"  # where the service in an image keeps its state; a volume, where there is a store
# The distributions that the service needs in every image, beside what the bundle's requirements name.
RUNTIME = ("httptools", "msgspec", "numpy", "uvloop")

# In a cluster
MANAGER = "wherry"  # the server-side apply field manager, and the value of managed-by
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_VERSION = "app.kubernetes.io/version"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_TRACK = "wherry.dev/track"
LABEL_SCHEDULE = "wherry.dev/schedule"  # the name of the scheduled work that a pod does
ANNOTATION_DIGEST = "wherry.dev/model-digest"
ANNOTATION_IMAGE = "wherry.dev/image"
ANNOTATION_CONTENT = "wherry.dev/content"  # an image's label: the tag that its content makes
ANNOTATION_MODEL = "wherry.dev/model"  # NAME:VERSION as packed
ANNOTATION_RELEASE = "wherry.dev/release"  # the number of a release; a label on the ConfigMap that keeps it
ANNOTATION_STATE = "wherry.dev/state"  # what became of a kept release
ANNOTATION_CAUSE = "wherry.dev/cause"
ANNOTATION_UNMEASURED = "wherry.dev/unmeasured"
ANNOTATION_CREATED_NAMESPACE = "wherry.dev/created-by"

# HTTP headers
HEADER_REQUEST_ID = "X-Request-Id"
HEADER_MODEL_VERSION = "X-Model-Version"
HEADER_MODEL_DIGEST = "X-Model-Digest"
HEADER_PREDICTION_ID = "X-Prediction-Id"
# Set by wherry's own probes of a rollout. Honoured only when every row of the request is a golden row.
HEADER_NO_STORE = "X-Wherry-No-Store"
PROBING = "probe"  # its value where nobody wants the answer: counted with what asks for no prediction
# A request that accepts this type gets the native reply, whatever shape [reply] declares.
NATIVE_MEDIA = "application/vnd.wherry.native+json"

# Metrics, as /metrics on the admin port names them
METRIC_REQUESTS = "wherry_requests_total"  # by door and status
METRIC_LATENCY = "wherry_request_seconds"  # histogram by door
METRIC_ROWS = "wherry_rows_total"
METRIC_CLASSES = "wherry_predictions_total"  # by class, of a classifier
METRIC_BATCH_ROWS = "wherry_batch_rows"  # histogram: rows scored in one call of the model
METRIC_MODEL_SECONDS = "wherry_model_seconds_total"
METRIC_STEP_SECONDS = "wherry_step_seconds"  # histogram by step, of a chain of models
METRIC_MODEL_FAILURES = "wherry_model_failures_total"
METRIC_IN_FLIGHT = "wherry_requests_in_flight"
METRIC_QUEUE_ROWS = "wherry_queue_rows"
METRIC_CONNECTIONS = "wherry_connections"
METRIC_OUTSIDE = "wherry_values_out_of_range_total"
METRIC_IGNORED = "wherry_fields_ignored_total"
METRIC_READY = "wherry_ready"
METRIC_MODEL_INFO = "wherry_model_info"  # 1, with the model's name, version, digest and flavor as labels
METRIC_LOAD_SECONDS = "wherry_model_load_seconds"
METRIC_WORKERS = "wherry_workers"
METRIC_REPLACED = "wherry_workers_replaced_total"  # by cause: died, hung
METRIC_SHADOW_REQUESTS = "wherry_shadow_requests_total"  # by outcome, of copies for a shadow
METRIC_SHADOW_ROWS = "wherry_shadow_rows_total"  # by answer: same, other
METRIC_SKIPPED = "wherry_store_skipped_rows_total"
METRIC_STORE_ROWS = "wherry_store_rows"  # by state: accepted, stored, pending, dropped, poison


def object_name(text: str) -> str:
    """The Kubernetes name of a model called `text`: lower case, runs of other characters to one hyphen, 63 at most.

    Raises ValueError when nothing is left that Kubernetes accepts.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-")
    if not name:
        raise ValueError(f"{text!r} has no letter or digit to make a Kubernetes name of")
    return name if name[0].isalpha() else f"m-{name}"[:63].rstrip("-")
