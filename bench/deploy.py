"""How long `wherry deploy` takes to a proven verdict, beside `kubectl apply` and `rollout status` of the same objects.

python bench/deploy.py IMAGE_REPOSITORY [PAIRS]: needs kubectl and WHERRY_TEST_KUBECONFIG; builds and pushes two
versions first. Pairs take turns, each in a namespace of its own. Prints a table; ends with 1 when a first deploy takes
more than 1.3 times as long, or an update more than that and the drain, which kubectl does not wait for.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 1.3
CONFIG = os.environ["WHERRY_TEST_KUBECONFIG"]
DRAIN = 5 + 5  # seconds: preStop and [serve] drain_seconds
SETTINGS = '[deploy]\nreplicas = 2\n[deploy.service]\ntype = "NodePort"\n[deploy.resources]\ncpu = "20m"\n'


def run(*command: str, cwd: Path, **environ: str) -> tuple[str, float]:
    """What it prints, and the seconds that it took."""
    began = time.monotonic()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")}
    done = subprocess.run(command, cwd=cwd, env={**kept, **environ}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout, time.monotonic() - began


def pack(folder: Path, repository: str) -> list[str]:
    """Two versions as bundles 1 and 2; their images by digest."""
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    import wherry

    X, y = load_iris(return_X_y=True, as_frame=True)
    (folder / "wherry.toml").write_text(SETTINGS)
    images = []
    for version in ("1", "2"):
        model = LogisticRegression(max_iter=500, C=float(version)).fit(X, y)
        wherry.pack(model, X, y, to=folder / version, name="iris", version=version)
        built, _ = run(*WHERRY, "build", version, "--push", "-q", "--image", repository, cwd=folder)
        images.append(built.strip())
    return images


WHERRY = (sys.executable, "-m", "wherry")
KUBECTL = ("kubectl", "--kubeconfig", CONFIG)


def by_wherry(folder: Path, version: str, image: str, namespace: str) -> float:
    flags = ("--image", image, "-n", namespace, "--kubeconfig", CONFIG, "-q")
    return run(*WHERRY, "deploy", version, *flags, cwd=folder)[1]


def by_kubectl(folder: Path, version: str, image: str, namespace: str) -> float:
    objects, _ = run(*WHERRY, "render", version, "--image", image, "-n", namespace, cwd=folder)
    (folder / "objects.yaml").write_text(objects)
    applied = run(*KUBECTL, "-n", namespace, "apply", "-f", "objects.yaml", cwd=folder)[1]
    return applied + run(*KUBECTL, "-n", namespace, "rollout", "status", "deployment/iris", cwd=folder)[1]


def main() -> int:
    repository, pairs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    seen: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = pack(folder, repository)
        for pair in range(pairs + 1):
            for who, deploy in (("kubectl", by_kubectl), ("wherry", by_wherry))[: 2 if pair else 1]:
                namespace = f"bench-{who}-{os.getpid()}-{pair}"
                run(*KUBECTL, "create", "namespace", namespace, cwd=folder)
                try:
                    for what, version, image in zip(("first", "update"), "12", images, strict=True):
                        took = deploy(folder, version, image, namespace)
                        if pair:  # the one before them brings the images to the node
                            seen.setdefault((what, who), []).append(took)
                            print(f"{pair} {what:7} {who:8} {took:5.1f} s", flush=True)
                finally:
                    run(*KUBECTL, "delete", "namespace", namespace, "--wait=false", cwd=folder)
    failed = False
    for what, more in (("first", 0), ("update", DRAIN)):
        usual, ours = (statistics.median(seen[what, who]) for who in ("kubectl", "wherry"))
        allowed = LIMIT * usual + more
        failed |= ours > allowed
        print(f"{what:7} kubectl {usual:5.1f} s, wherry {ours:5.1f} s, allowed {allowed:5.1f} s (medians of {pairs})")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
