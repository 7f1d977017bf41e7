"""`wherry advise` beside stepping by hand with h2load: the knee of one replica of three models, found both ways.

WHERRY_TEST_KUBECONFIG=... WHERRY_TEST_REGISTRY=... python bench/knee.py [MODEL...]: each of linear, forest and vectors
is packed, deployed alone under a CPU limit in a namespace of its own, measured by `wherry advise`, then by hand:
`h2load --h1 --rps` in steps of 7 %, beginning at seven tenths of what it answers as fast as it goes, each step SECONDS
long, until two steps missed. A step holds when all was answered, at no less than 97 % of the rate, and p99 was within
the objective. Ends with 1 when a model's two knees lie more than 15 % apart. Needs h2load (Debian's nghttp2-client),
kubectl and a machine that is left alone: three to five minutes a model.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OBJECTIVE_MS = 500
SLO = f"p99<{OBJECTIVE_MS}ms,errors<0.1%"
FROM, STEP, SECONDS, CLIENTS = 0.7, 1.07, 6, 8
AGREED = 0.15
CPU = {"linear": "150m", "forest": "250m", "vectors": "250m"}  # the limit that each is measured under
ROWS = {"linear": 1000, "forest": 100, "vectors": 200}  # in one request, which costs some milliseconds


def prepared(name: str, folder: Path) -> Path:
    """The model packed and its project written in `folder`; the file with the body of a request."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    import wherry

    made: dict[str, Callable[[], Any]] = {
        "linear": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": lambda: RandomForestClassifier(300, random_state=1),
        "vectors": lambda: make_pipeline(StandardScaler(), SVC(random_state=1)),
    }
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = X.iloc[:, :6]
    wherry.pack(made[name]().fit(X, y), X, y, to=folder / "bundle", name=name)
    rows = X.to_numpy().tolist()
    body = folder / "batch.json"
    body.write_text(json.dumps({"columns": list(X), "rows": (rows * (ROWS[name] // len(rows) + 1))[: ROWS[name]]}))
    (folder / "wherry.toml").write_text(
        f'[deploy]\nimage = "{os.environ["WHERRY_TEST_REGISTRY"]}/wherry-bench-knee"\nreplicas = 1\n'
        f'[deploy.service]\ntype = "NodePort"\n'
        f'[deploy.resources]\ncpu = "{CPU[name]}"\ncpu_limit = "{CPU[name]}"\n'
    )
    return body


def h2load(url: str, body: Path, *arguments: str) -> tuple[float, float, int]:
    """Answers a second, p99 in ms, failures."""
    with tempfile.NamedTemporaryFile() as log:
        command = ["h2load", "--h1", "-d", str(body), "-H", "content-type: application/json", f"--log-file={log.name}"]
        subprocess.run([*command, *arguments, f"{url}/predict"], capture_output=True, check=True)
        rows = [line.split() for line in Path(log.name).read_text().splitlines()]
    took = sorted(int(row[2]) / 1000 for row in rows if row[1] == "200")
    ends = [int(row[0]) + int(row[2]) for row in rows]
    wall = (max(ends) - min(int(row[0]) for row in rows)) / 1e6
    return len(took) / wall, took[int(0.99 * len(took))] if took else float("inf"), len(rows) - len(took)


def stepped(url: str, body: Path) -> float:
    """The highest step that held."""
    most, _, _ = h2load(url, body, f"-c{CLIENTS}", f"-D{SECONDS}")
    print(f"  as fast as it goes {most:.1f}/s")
    rate, held, missed = FROM * most, 0.0, 0
    while missed < 2:
        each = f"--rps={rate / CLIENTS:.3f}"
        had, tail, failed = h2load(url, body, f"-c{CLIENTS}", each, f"-n{round(rate * SECONDS)}", "-r1", spread(rate))
        ok = had >= 0.97 * rate and tail < OBJECTIVE_MS and not failed
        print(f"  {rate:8.1f}/s  {'held  ' if ok else 'missed'}  {had:.1f}/s, p99 {tail:.0f} ms, {failed} failed")
        held, missed = (rate, 0) if ok else (held, missed + 1)
        rate *= STEP
    return held


def spread(rate: float) -> str:
    """Connections begin one after the other, so that their requests do not come all at once."""
    return f"--rate-period={max(1, round(1000 / rate))}ms"


def compared(name: str) -> tuple[float, float]:
    """The knee by `wherry advise` and by hand."""
    config = os.environ["WHERRY_TEST_KUBECONFIG"]
    kubectl = ["kubectl", "--kubeconfig", config]
    space = f"wherry-bench-{name}"
    folder = Path(tempfile.mkdtemp(prefix="wherry-knee-"))
    body = prepared(name, folder)

    def wherry(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "wherry", *arguments, "-n", space, "--kubeconfig", config, "--json"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return json.loads(done.stdout)

    subprocess.run([*kubectl, "create", "namespace", space], check=True, capture_output=True)
    try:
        wherry("deploy")
        url = wherry("status")[0]["address"]["url"]
        found = wherry("advise", "--data", str(body), "--slo", SLO, "--no-write")["knee"]
        print(
            f"{name}, {ROWS[name]} rows, limit {CPU[name]}, {urlsplit(url).netloc}: {found['rate']} ({found['reason']})"
        )
        return found["rate"], stepped(url, body)
    finally:
        subprocess.run([*kubectl, "delete", "namespace", space, "--wait=false"], check=False, capture_output=True)
        shutil.rmtree(folder)


def main(names: list[str]) -> int:
    if shutil.which("h2load") is None:
        print("bench/knee.py needs h2load: apt-get install nghttp2-client", file=sys.stderr)
        return 1
    apart = []
    for name in names:
        ours, hand = compared(name)
        apart.append(abs(ours / hand - 1) if hand else 1.0)
        print(
            f"| {name}, {ROWS[name]} rows | {CPU[name]} | {hand:.1f}/s | {ours:.1f}/s | {ours / hand - 1:+.0%} |",
            flush=True,
        )
    return int(max(apart) > AGREED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [*CPU]))
