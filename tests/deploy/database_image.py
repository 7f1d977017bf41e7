"""MariaDB and PostgreSQL of Debian's packages as one container image that honours the official images' variables."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ENTRY = Path(__file__).with_name("database_entry.sh")
KIT = Path(__file__).resolve().parents[3] / "shared" / "cluster" / "cluster"
UID = "999"  # as in the official images
NEEDLESS = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/icu/*"),
    *("/usr/lib/x86_64-linux-gnu/libLLVM*", "/usr/lib/x86_64-linux-gnu/libz3*", "/usr/bin/aria_*", "/usr/bin/myisam*"),
)
# The same user for both: as whom a pod runs is a number.
HOOK = f"""
set -e
chroot "$1" usermod --uid {UID} mysql
chroot "$1" usermod --non-unique --uid {UID} postgres
rm -rf "$1"/var/lib/mysql "$1"/var/lib/postgresql "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*
for folder in var/lib/mysql var/lib/postgresql/data run/mysqld run/postgresql; do
    mkdir -p "$1/$folder"
    chown {UID}:{UID} "$1/$folder"
done
ln -sf /usr/lib/postgresql/*/bin/* "$1"/usr/local/bin/ 2>/dev/null || true
for program in "$1"/usr/lib/postgresql/*/bin/*; do ln -sf "${{program#"$1"}}" "$1"/usr/local/bin/; done
cp {ENTRY} "$1"/usr/local/bin/database-entry
chmod 755 "$1"/usr/local/bin/database-entry
"""


def docker_environ() -> dict[str, str]:
    """What the docker client needs to reach the test cluster's daemon. Skips where there is none."""
    if not KIT.exists() or shutil.which("docker-compose") is None:
        pytest.skip("needs the test cluster's Docker daemon, and Debian's docker-compose")
    host = (
        os.environ.get("DOCKER_HOST")
        or f"unix://{os.environ.get('CLUSTER_DIR', '/var/tmp/test-cluster')}/run/docker.sock"
    )
    if not Path(host.removeprefix("unix://")).exists():
        pytest.skip("the Docker daemon is not up: ../shared/cluster/cluster docker")
    path = f"{Path(host.removeprefix('unix://')).parent.parent / 'bin'}:{os.environ['PATH']}"
    return {**os.environ, "DOCKER_HOST": host, "PATH": path}


def docker(*words: str, environ: dict[str, str] | None = None, timeout: float = 900, stdin: str = "") -> str:
    """What `docker WORDS` printed; a failure with what it said."""
    return output(("docker", *words), environ or docker_environ(), timeout, stdin)


def output(
    words: tuple[str, ...], environ: dict[str, str], timeout: float = 900, stdin: str = "", cwd: Path | None = None
) -> str:
    done = subprocess.run(
        words, env=environ, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, cwd=cwd
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def database_image(registry: str, folder: Path) -> str:
    """The image's name in `registry`, from which the cluster pulls; made there unless it is there (two minutes).

    Its layer is compressed once and kept by the registry, also when the cluster is taken down.
    """
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip("needs root and mmdebstrap")
    environ = docker_environ()
    tag = hashlib.sha256((HOOK + ENTRY.read_text()).encode()).hexdigest()[:12]
    name = f"{registry}/wherry-test-databases:{tag}"
    if (
        subprocess.run(["docker", "pull", "--quiet", name], env=environ, capture_output=True, check=False).returncode
        == 0
    ):
        return name
    root = folder / "databases.tar"
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in NEEDLESS]
    packages = "--include=mariadb-server,postgresql"
    output(
        (
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            packages,
            *excluded,
            f"--customize-hook={HOOK}",
            "bookworm",
            str(root),
        ),
        environ,
        1200,
    )
    entry = 'ENTRYPOINT ["/usr/local/bin/database-entry"]'
    docker("import", "--change", entry, "--change", f"USER {UID}:{UID}", str(root), name, environ=environ)
    root.unlink()
    docker("push", "--quiet", name, environ=environ)
    return name
