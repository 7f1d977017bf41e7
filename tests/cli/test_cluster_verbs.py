"""What the cluster's verbs print, from the values that the rooms below hand up."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click
import msgspec
import pytest
import yaml

from wherry.cli import clusters, deploy, down, releases, rollback, scale, status
from wherry.cli.console import Console
from wherry.cli.main import run
from wherry.deploy.address import Address
from wherry.deploy.deploy import Verdict
from wherry.deploy.life import Past
from wherry.deploy.status import Autoscaler, Status
from wherry.deploy.teardown import Removal
from wherry.errors import NotConfirmed

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]

WELL = Status(
    name="breast",
    namespace="models",
    wanted=2,
    ready=2,
    updated=2,
    paused=False,
    image="localhost:5000/breast@sha256:aa",
    model="breast:1",
    version="1",
    digest="0123456789abcdef",
    address=Address("http://10.96.0.9", "here", "inside the cluster: http://breast.models.svc"),
    autoscaler=Autoscaler(2, 10, 2, 2, 60, None, "it has not been measured yet"),
    unmeasured=("cpu",),
    age_seconds=7200.0,
    restarts=1,
    problems=(),
)


def test_status_is_a_block_of_facts(capsys: pytest.CaptureFixture[str]) -> None:
    status.show(Console(), (WELL,))
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == "breast  well"
    for text in ("http://10.96.0.9", "2 of 2 ready, 1 restart", "2 to 10 pods", "CPU unknown", "2 h", "0123456789ab"):
        assert text in shown


def test_status_as_json_says_whether_it_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    status.show(Console(as_json=True), (WELL, WELL))
    listed = json.loads(capsys.readouterr().out)
    assert [one["healthy"] for one in listed] == [True, True]


@pytest.mark.parametrize(("seconds", "text"), [(40, "40 s"), (600, "10 min"), (7200, "2 h"), (400000, "5 d")])
def test_ages(seconds: float, text: str) -> None:
    assert status.age(seconds) == text


def test_scale_takes_the_number_last() -> None:
    assert scale.parse(("3",)) == ("", 3)
    assert scale.parse(("breast", "0")) == ("breast", 0)
    for words in (("breast",), ("3", "breast"), ("a", "b", "3"), ("-1",)):
        with pytest.raises(click.UsageError):
            scale.parse(words)


def test_rollback_takes_a_name_and_a_number_or_neither() -> None:
    assert rollback.parse(()) == ("", None)
    assert rollback.parse(("6",)) == ("", 6)
    assert rollback.parse(("breast",)) == ("breast", None)
    assert rollback.parse(("breast", "6")) == ("breast", 6)
    for words in (("6", "breast"), ("a", "b"), ("a", "b", "6")):
        with pytest.raises(click.UsageError):
            rollback.parse(words)


def test_a_release_is_one_line() -> None:
    past = Past(
        name="breast",
        number=7,
        now=True,
        state="failed",
        model="breast:2",
        image=f"localhost:5000/breast:2@sha256:{'ab' * 32}",
        made="2026-01-02T03:04:05Z",
        cause="crash",
    )
    image = "localhost:5000/breast:2@sha256:abababababab"
    assert releases.row(past) == ("*", "7", "failed", "breast:2", image, "2026-01-02 03:04:05", "crash")


def test_a_deploy_ends_with_what_was_seen_and_how_to_undo_it(capsys: pytest.CaptureFixture[str]) -> None:
    verdict = Verdict(
        outcome="deployed",
        name="breast",
        namespace="models",
        context="fake",
        image="localhost:5000/breast",
        release=7,
        undo="wherry rollback 6",
        address=WELL.address,
        way="proxy",
        requests=240,
        failed=0,
        worst_ms=4.0,
        p99_ms=12.5,
        rollout_seconds=20.0,
        seconds=21.0,
        changes=(),
    )
    deploy.show(Console(), verdict)
    shown = capsys.readouterr()
    assert shown.out == "http://10.96.0.9\n", "scripts read the address from standard output"
    *_, following, undo = shown.err.splitlines()
    assert undo == "240 requests, 0 failed, worst p99 12.5 ms; undo: wherry rollback 6"
    assert following == "Next: wherry status"
    deploy.show(Console(), verdict, " -n models --context fake")
    told = capsys.readouterr().err
    assert "Next: wherry status -n models --context fake\n" in told
    assert told.endswith("undo: wherry rollback 6 -n models --context fake\n"), "later verbs need the same flags"


def test_flags_are_repeated_as_they_are_typed() -> None:
    assert clusters.flags_again(None, None, None) == ""
    again = clusters.flags_again("my context", "models", Path("config"))
    assert again == " -n models --context 'my context' --kubeconfig config"


def test_ctrl_c_during_a_rollout_says_what_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "wherry.deploy.rollback.ways_back", lambda cluster, name: (f"wherry down {name}", "wherry logs")
    )
    with pytest.raises(KeyboardInterrupt), clusters.leaving(Console(), cast("Any", None), "breast", " -n models"):
        raise KeyboardInterrupt
    told = capsys.readouterr().err
    assert "goes on in the cluster; run the same command to finish it" in told
    assert "wherry down breast -n models\n" in told and "wherry logs -n models\n" in told


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1.5m", 90.0)])
def test_times(text: str, seconds: float) -> None:
    assert deploy.Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "-3", "5h", "soon"])
def test_no_times(text: str) -> None:
    with pytest.raises(click.BadParameter):
        deploy.Seconds().convert(text, None, None)


def test_down_lists_before_it_asks_even_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    removal = Removal(
        "breast", "models", ("deployment/breast",), ("image localhost:5000/breast:1",), namespace_goes=True
    )
    console = Console(quiet=True)
    down.listed(console, removal)
    with pytest.raises(NotConfirmed):
        console.confirm("Remove?", flag="--yes")
    shown = capsys.readouterr().err
    assert "goes   deployment/breast" in shown and "goes   namespace/models" in shown
    assert "stays  image localhost:5000/breast:1" in shown


@pytest.mark.parametrize(("answer", "code", "said"), [("n", 1, "nothing was removed\n"), ("y", 0, "")])
def test_down_counts_what_it_lists_and_takes_a_no(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, code: int, said: str
) -> None:
    found = Removal("breast", "models", ("deployment/breast", "service/breast"), (), namespace_goes=True)
    asked: list[str] = []

    def carry_out(*_: object, confirm: Callable[[Removal], bool], **__: object) -> Removal:
        return msgspec.structs.replace(found, done=confirm(found))

    def confirmed(question: str, **_: object) -> bool:
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr("wherry.deploy.life.down", carry_out)
    monkeypatch.setattr(down, "connected", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(Console, "interactive", True)
    monkeypatch.setattr("wherry.cli.console.click.confirm", confirmed)
    assert run(["down", "breast"]) == code
    shown = capsys.readouterr().err
    assert shown.count("  goes   ") == 3 and asked == ["Remove 3 objects of breast?"]
    assert shown.endswith(said) and "--yes" not in shown


def test_render_prints_one_yaml_stream_and_nothing_else(wherry: Wherry, linear_bundle: Path) -> None:
    done = wherry("render", linear_bundle)
    objects = list(yaml.safe_load_all(done.stdout))
    assert {made["kind"] for made in objects} >= {"Deployment", "Service", "HorizontalPodAutoscaler"}
    assert "no image is named: wrote iris:1" in done.stderr
    named = wherry("render", linear_bundle, "--image", "localhost:5000/a", "--tag", "7", "-n", "models")
    (workload,) = [made for made in yaml.safe_load_all(named.stdout) if made["kind"] == "Deployment"]
    assert workload["spec"]["template"]["spec"]["containers"][0]["image"] == "localhost:5000/a:7"
    assert workload["metadata"]["namespace"] == "models"
    untagged = wherry("render", linear_bundle, "--image", "localhost:5000/a")  # which a cluster would take for :latest
    assert " image: localhost:5000/a:1\n" in untagged.stdout
    assert "no tag is named: wrote localhost:5000/a:1" in untagged.stderr
    again = wherry("render", linear_bundle, PYTHONHASHSEED="1")  # of an interpreter of its own, with other hashes
    assert again.stdout == done.stdout


@pytest.mark.parametrize("flags", [("--tag", "7", "--image", "a:8"), ("--image", f"a@sha256:{'0' * 64}", "--tag", "7")])
def test_two_images_are_refused(wherry: Wherry, linear_bundle: Path, flags: tuple[str, ...]) -> None:
    assert wherry("render", linear_bundle, "--image", "a:7", "--tag", "7").returncode == 0
    done = wherry("render", linear_bundle, *flags)
    assert done.returncode == 2
    assert "which of the two?" in done.stderr and "or --image a:7" in done.stderr


def test_render_to_a_folder_writes_an_object_a_file(wherry: Wherry, linear_bundle: Path, tmp_path: Path) -> None:
    done = wherry("render", linear_bundle, "--to", "made")
    written = sorted((tmp_path / "made").iterdir())
    assert done.stdout.split() == [f"made/{path.name}" for path in written]
    assert len(written) == len(list(yaml.safe_load_all(wherry("render", linear_bundle).stdout)))


def test_render_warns_of_what_only_a_local_cluster_may_have(
    wherry: Wherry, linear_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "wherry.toml").write_text('[deploy.service]\ntype = "NodePort"\n')
    done = wherry("render", linear_bundle)
    assert done.returncode == 0
    assert "warning: on a cluster that is not local" in done.stderr and "allow_from" in done.stderr


def test_render_the_dockerfile(wherry: Wherry, linear_bundle: Path, tmp_path: Path) -> None:
    done = wherry("render", linear_bundle, "--dockerfile")
    assert done.stdout.count("FROM ") == 2
    assert not (tmp_path / "wherry.lock").exists()


@pytest.mark.parametrize(
    ("current", "cpu", "told"),
    [(3, 2, True), (3, 38, True), (3, 50, False), (3, 58, False), (2, 2, False), (3, None, False), (3, 0, True)],
)
def test_status_says_how_long_fewer_pods_must_be_enough(current: int, cpu: int | None, told: bool) -> None:
    scaler = Autoscaler(2, 10, current, current, 60, cpu, "", down_after=300, down_every=60)
    words = "fewer pods would do: one goes 300 s after more were last needed, then again each 60 s"
    assert (words in scaler.words) == told
