"""`deploy --verify job`: the program that asks, run for real; the Job around it, and what becomes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.contract.events import Note, Step
from wherry.deploy import proof_asking, proof_job
from wherry.deploy.cluster import Answer, Cluster
from wherry.deploy.deploy import deploy
from wherry.deploy.probe import Probe
from wherry.errors import NotPermitted, ProbeFailed, ProofUnmade
from wherry.testing import FakeApiServer

GOLDEN = {"columns": ["a"], "rows": [[0.1], [0.9]], "predictions": [0, 1]}


# --- the program


class Service:
    """Answers on loopback as it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"predictions": [0, 1]}'
        self.asked: list[tuple[dict[str, str], Any]] = []
        served = self

        class Asked(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                served.asked.append((dict(self.headers), body))
                self.send_response(served.status)
                self.send_header("X-Model-Digest", "d" * 64)
                self.send_header("Content-Length", str(len(served.body)))
                self.end_headers()
                self.wfile.write(served.body)

            def log_message(self, *about: object) -> None: ...

        self.http = HTTPServer(("127.0.0.1", 0), Asked)
        self.url = f"http://127.0.0.1:{self.http.server_port}/predict"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = threading.Thread(target=made.http.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The program as the Job runs it: its text, by a bare python3 that knows nothing of wherry."""
    (tmp_path / "golden.json").write_text(json.dumps(GOLDEN))

    def run(url: str, **wish: Any) -> subprocess.CompletedProcess[str]:
        made = {"url": url, "headers": {"Content-Type": "application/json"}, "requests": 3, "settle": 0.3}
        made |= {"digest": "X-Model-Digest", "token_file": "", **wish}
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", proof_job.program(), json.dumps(made)],
            env={"WHERRY_BUNDLE": str(tmp_path), "http_proxy": "http://127.0.0.1:9", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


def test_the_program_asks_the_golden_rows_and_tells_each_reply(
    program: Callable[..., Any], service: Service, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text("secret\nanother\n")
    ran = program(service.url, token_file=str(tmp_path / "tokens"))
    assert (ran.returncode, ran.stderr) == (0, "")
    replies = [proof_job.reply(line) for line in ran.stdout.splitlines()]
    assert len(replies) == 3
    for each in replies:
        assert each is not None
        assert (each.answer.status, each.answer.headers) == (200, {"x-model-digest": "d" * 64})
        assert json.loads(each.answer.body) == {"predictions": [0, 1]}
        assert each.ms > 0
    for headers, body in service.asked:
        assert headers["X-Api-Key"] == "secret"
        assert body == {"columns": ["a"], "rows": [[0.1], [0.9]]}
    assert "secret" not in ran.stdout


def test_the_program_tells_a_refusal_and_an_absence(program: Callable[..., Any], service: Service) -> None:
    service.status, service.body = 503, b"busy"
    told = [json.loads(line) for line in program(service.url).stdout.splitlines()]
    assert [(one["status"], one["body"]) for one in told] == [(503, "busy")] * 3
    ran = program("http://127.0.0.1:1/predict")
    assert ran.returncode == 1
    assert "refused" in json.loads(ran.stdout)["error"]


def test_the_program_waits_for_a_first_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setenv("WHERRY_BUNDLE", str(tmp_path))
    (tmp_path / "golden.json").write_text(json.dumps(GOLDEN))
    monkeypatch.setattr(proof_asking, "AGAIN_SECONDS", 0)
    found = iter([{"error": "no name"}, {"error": "refused"}, {"status": 200}, {"error": "reset"}])
    monkeypatch.setattr(proof_asking, "asked", lambda *about: next(found))
    wish = {"url": "", "headers": {}, "requests": 2, "settle": 60, "digest": "", "token_file": ""}
    assert proof_asking.main(json.dumps(wish)) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"status": 200}, {"error": "reset"}]


# --- the Job


def said(*predictions: Any, digest: str = "", status: int = 200) -> str:
    body = json.dumps({"predictions": list(predictions)}) if status == 200 else "busy"
    return json.dumps({"status": status, "digest": digest or None, "body": body, "ms": 7.5}) + "\n"


def jobs_made(server: FakeApiServer) -> list[str]:
    return [path for method, path in server.api.requests if method == "POST" and path.endswith("/jobs")]


def test_a_job_asks_where_it_is_told_to(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any]
) -> None:
    server.api.job = lambda job: ({"phase": "Succeeded"}, said(0, 1, 0) * 10)
    verdict = deploy(make_release("boats"), fake, probe, verify="job", tell=told.append)
    assert (verdict.ok, verdict.way, verdict.requests, verdict.failed, verdict.worst_ms) == (True, "job", 10, 0, 7.5)
    assert "through the Service, by a Job" in [each for each in told if isinstance(each, Step)][-1].text
    assert len(jobs_made(server)) == 1
    assert server.api.all("jobs", "boats") == []
    assert [pod for pod in server.api.all("pods", "boats") if "job-name" in pod["metadata"]["labels"]] == []


def test_the_job_s_pod_is_like_the_service_s_and_is_not_taken_for_one(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe
) -> None:
    made: list[Any] = []
    server.api.job = lambda job: (made.append(job), ({"phase": "Succeeded"}, said(0, 1, 0)))[1]
    release = make_release("boats", stand_in=False)
    deploy(release, fake, probe, verify="job")
    [job] = made
    pod, served = job["spec"]["template"]["spec"], release.workload["spec"]["template"]["spec"]
    for key in ("securityContext", "serviceAccountName", "automountServiceAccountToken"):
        assert pod[key] == served[key]
    [container] = pod["containers"]
    assert container["image"] == served["containers"][0]["image"]
    assert container["securityContext"] == served["containers"][0]["securityContext"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert (pod["restartPolicy"], job["spec"]["backoffLimit"]) == ("Never", 0)
    assert job["spec"]["ttlSecondsAfterFinished"] == proof_job.KEPT_SECONDS
    wish = json.loads(container["command"][-1])
    assert wish["url"] == "http://ferry:80/predict"
    assert wish["headers"]["X-Wherry-No-Store"] == "probe"
    labels = job["spec"]["template"]["metadata"]["labels"]
    selected = release.workload["spec"]["selector"]["matchLabels"]
    assert not selected.items() <= labels.items()
    assert labels["app.kubernetes.io/managed-by"] == "wherry"


def test_a_token_is_read_from_its_secret_and_stands_nowhere_in_the_job(make_release: Any) -> None:
    release = make_release("boats", stand_in=False, service={"type": "ClusterIP"})
    spec = {**release.workload["spec"]["template"]["spec"]}
    spec["volumes"] = [*spec["volumes"], {"name": "token", "secret": {"secretName": "ferry-token"}}]
    mount = {"name": "token", "mountPath": "/var/run/wherry/token", "readOnly": True}
    spec["containers"] = [{**spec["containers"][0], "volumeMounts": [mount]}]
    headers = {"X-Api-Key": "the-token", "Accept": "x"}
    made = proof_job.job("ferry", "http://ferry/predict", headers, {"spec": spec}, requests=1, settle=1)
    assert "the-token" not in yaml.safe_dump(made)
    pod = made["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["token"]
    assert json.loads(pod["containers"][0]["command"][-1])["token_file"] == "/var/run/wherry/token/tokens"
    long = proof_job.job("f" * 63, "http://f/predict", {}, {"spec": spec}, requests=1, settle=1)
    assert len(long["metadata"]["name"]) <= 63


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (said(1, 1, 0), "1 of 3 golden rows are answered otherwise"),
        (said(0, 1, 0, digest="f" * 64), "the model with digest ffffffffffff answers"),
        (said(status=503), "HTTP 503: busy"),
        (said(0, 1, 0) + '{"error": "connection reset"}\n', "connection reset"),
    ],
)
def test_a_wrong_answer_to_the_job_is_a_wrong_answer(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, log: str, words: str
) -> None:
    server.api.job = lambda job: ({"phase": "Succeeded"}, log)
    with pytest.raises(ProbeFailed, match=words) as failed:
        deploy(make_release("boats"), fake, probe, verify="job")
    assert failed.value.outcome == "unproven"
    assert server.api.all("jobs", "boats") == []


def waiting(reason: str, message: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "proof", "ready": False, "state": state}]}


ENDED = {"containerStatuses": [{"name": "proof", "state": {"terminated": {"exitCode": 127, "reason": "StartError"}}}]}


@pytest.mark.parametrize(
    ("status", "log", "words"),
    [
        (
            {"phase": "Failed", **ENDED},
            "no such file: python3\n",
            r"exit code 127 \(StartError\): no such file: python3",
        ),
        ({"phase": "Failed"}, '{"error": "Name or service not known"}\n', "cannot be reached: Name or service"),
        ({"phase": "Failed", "reason": "Evicted"}, "", r"exit code \? \(Evicted\)"),
        ({"phase": "Succeeded"}, "", "said nothing"),
        (waiting("InvalidImageName", "bad name"), "", "not an image name that the cluster can use: bad name"),
    ],
)
def test_a_job_that_cannot_ask_says_why_and_goes(
    fake: Cluster,
    server: FakeApiServer,
    make_release: Any,
    probe: Probe,
    status: dict[str, Any],
    log: str,
    words: str,
) -> None:
    server.api.job = lambda job: (status, log)
    with pytest.raises(ProofUnmade, match=words) as failed:
        deploy(make_release("boats"), fake, probe, verify="job")
    assert failed.value.outcome == "unproven"
    assert failed.value.hint
    assert server.api.all("jobs", "boats") == []


def test_without_the_proxy_a_job_asks_and_without_a_job_each_pod(
    fake: Cluster, server: FakeApiServer, make_release: Any, probe: Probe, told: list[Any], monkeypatch: Any
) -> None:
    server.api.denied = {("create", "services/proxy")}
    server.api.job = lambda job: ({"phase": "Succeeded"}, said(0, 1, 0))
    assert deploy(make_release("boats"), fake, probe, tell=told.append).way == "job"
    assert any("a Job asks it instead" in each.text for each in told if isinstance(each, Note))
    server.api.denied.add(("create", "jobs"))
    monkeypatch.setattr(fake, "ask_pod", lambda *asked: Answer(200, {}, b'{"predictions": [0, 1, 0]}'))
    assert deploy(make_release("boats", version="2"), fake, probe, tell=told.append).way == "forward"
    assert any(each.text.endswith("each pod is asked instead") for each in told if isinstance(each, Note))
    with pytest.raises(NotPermitted) as refused:
        deploy(make_release("boats", version="3"), fake, probe, verify="job")
    assert "jobs" in str(refused.value)
