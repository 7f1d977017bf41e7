"""The official weights of the image classifier: fetched with checksum and progress, or what is said instead."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "image-classifier"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file such as the official one: the names and shapes of ResNet-50, its numbers drawn, its digest in its name."""
    torch = pytest.importorskip("torch", reason="needs torch: scripts/heavy-env")
    source = (EXAMPLE / "train.py").read_text().partition("MODELS = ")[0]
    made: dict[str, Any] = {}
    exec(compile(source, "train.py", "exec"), made)
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("weights")
    torch.save(made["ResNet50"]().state_dict(), folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    return (folder / "new.pth").rename(folder / f"resnet50-{digest[:8]}.pth")


@pytest.fixture(scope="module")
def site(weights: Path) -> Iterator[str]:
    """Gives the folder of the weights to this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *about: object) -> None: ...

    shutil.copy(weights, weights.with_name("resnet50-00000000.pth"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(weights.parent)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def train(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """train.py, which finds the weights at another address than the official one."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    script = folder / "train.py"
    official = next(line for line in script.read_text().splitlines() if line.startswith("RESNET50 = "))
    script.write_text(script.read_text().replace(official, f'RESNET50 = "{url}"'))
    environ = {**os.environ, "TORCH_HOME": str(folder / "torch"), "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "train.py"], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=280
    )


def test_weights_are_fetched_with_progress_and_served_without_torch(
    site: str, weights: Path, wherry: Any, tmp_path: Path
) -> None:
    done = train(tmp_path, f"{site}/{weights.name}")
    assert done.returncode == 0, done.stderr
    assert "100" in done.stderr and "%" in done.stderr, "no progress is shown"
    assert "resnet50: 25,557,032 weights" in done.stdout
    assert wherry("pack", "model.onnx", "--name", "resnet50").returncode == 0
    needed = json.loads((tmp_path / "bundle" / "manifest.json").read_bytes())["requirements"]["packages"]
    assert set(needed) == {"numpy", "onnxruntime", "pillow"}
    code = (
        "import sys, wherry; m = wherry.load('bundle'); m.replay(); print('torch' in sys.modules, len(m.golden.rows))"
    )
    asked = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["False", "4"]


def test_other_weights_than_the_official_ones_are_refused(site: str, tmp_path: Path) -> None:
    done = train(tmp_path, f"{site}/resnet50-00000000.pth")
    assert done.returncode == 1
    assert "invalid hash value" in done.stderr
    assert not (tmp_path / "model.onnx").exists()
    assert not list((tmp_path / "torch").rglob("*.pth")), "what was refused is not kept"


def test_without_a_network_it_says_what_can_be_done(free_ports: Any, tmp_path: Path) -> None:
    done = train(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}/resnet50-0676ba61.pth")
    assert done.returncode == 1
    assert "cannot be had" in done.stderr
    assert "python train.py efficientnet-lite0" in done.stderr
    assert "Traceback" not in done.stderr
