"""How long from exec to the first right prediction, for a bundle stored as ONNX and one folded to arrays.

python bench/start.py [ROUNDS]: prints a table; ends with 1 when an ONNX bundle never takes under a second.

The best of the rounds is what the code takes; the median holds what else the machine does, and the processor seconds
tell the two apart.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT = 1.0  # seconds, ONNX, best round


def pack(folder: Path) -> dict[str, tuple[Path, dict[str, Any], Any]]:
    """Two bundles of one data set: form to folder, a record and its right answer."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import wherry
    from wherry.model import bundle

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    models = {
        "onnx": make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=500, random_state=0)),
        "linear": make_pipeline(StandardScaler(), LogisticRegression()),
    }
    packed = {}
    for form, model in models.items():
        model.fit(X, y)
        manifest = wherry.pack(model, X, y, to=str(folder / form), name=form)
        if manifest.conversion.form != form:
            raise SystemExit(f"stored as {manifest.conversion.form}, not {form}: {manifest.conversion.refused}")
        golden = bundle.golden(folder / form, manifest)
        record = dict(zip(golden.columns, golden.rows[0], strict=True))
        packed[form] = (folder / form, record, golden.predictions[0])
    return packed


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def first_answer(
    command: list[str], bundle: Path, record: dict[str, Any], right: Any, work: Path
) -> tuple[float, float, float]:
    """Seconds from exec to the first right prediction, processor seconds, and resident MiB at that moment."""
    port, admin = free_port(), free_port()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")}
    environ |= {
        "WHERRY_BUNDLE": str(bundle),
        "WHERRY_SERVE_PORT": str(port),
        "WHERRY_SERVE_ADMIN_PORT": str(admin),
        "WHERRY_STORE_ENABLED": "false",
    }
    body = json.dumps(record)
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environ, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = json.loads(connection.getresponse().read())
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - start > 30:
                    raise SystemExit(f"{command} did not come up") from None
                time.sleep(0.001)
            finally:
                connection.close()
        seconds = time.perf_counter() - start
        if answer != {"prediction": right}:
            raise SystemExit(f"answered {answer}, not {right}")
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        resident = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return seconds, used, resident
    finally:
        process.kill()
        process.wait()


def main(rounds: int) -> int:
    commands = {"python -m wherry.server": [sys.executable, "-m", "wherry.server"]}
    script = shutil.which("wherry", path=str(Path(sys.executable).parent))
    if script:
        commands["wherry serve"] = [script, "serve"]
    failed = False
    with tempfile.TemporaryDirectory() as name:
        packed = pack(Path(name))
        print(f"{'command':<26} {'form':<8} {'best s':>7} {'median s':>9} {'worst s':>9} {'CPU s':>7} {'MiB':>6}")
        for form, (bundle, record, right) in packed.items():
            for title, command in commands.items():
                line = [*command, str(bundle)] if title == "wherry serve" else command
                found = [first_answer(line, bundle, record, right, Path(name)) for _ in range(rounds)]
                median, used, resident = (statistics.median(part) for part in zip(*found, strict=True))
                best, worst = min(each[0] for each in found), max(each[0] for each in found)
                print(f"{title:<26} {form:<8} {best:>7.2f} {median:>9.2f} {worst:>9.2f} {used:>7.2f} {resident:>6.0f}")
                failed |= form == "onnx" and best >= LIMIT
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
