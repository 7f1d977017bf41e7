"""The project's file: found, read, and refused with the line or the key that is wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]


def test_config_says_where_each_value_comes_from(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "wherry.toml").write_text("[serve]\nport = 9000\nworkers = 2\n")
    done = wherry("config", "--json", WHERRY_SERVE_WORKERS="3", PORT="9100")
    known = {setting["name"]: setting for setting in json.loads(done.stdout)}
    assert (known["serve.port"]["value"], known["serve.port"]["origin"]) == (9100, "PORT")
    assert (known["serve.workers"]["value"], known["serve.workers"]["origin"]) == (3, "WHERRY_SERVE_WORKERS")
    assert (known["serve.host"]["value"], known["serve.host"]["origin"]) == ("127.0.0.1", "default")
    assert known["serve.host"]["env"] == "WHERRY_SERVE_HOST"


def test_pyproject_serves_where_there_is_no_file_of_our_own(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.wherry.deploy]\nimage = 'localhost:5000/a'\n")
    done = wherry("config")
    line = next(line for line in done.stdout.splitlines() if line.startswith("deploy.image"))
    assert "localhost:5000/a" in line and "pyproject.toml [tool.wherry]" in line
    (tmp_path / "wherry.toml").write_text("")
    assert "localhost:5000/a" not in wherry("config").stdout


def test_a_wrong_key_is_refused_with_the_nearest(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "wherry.toml").write_text("[serve]\nprot = 9000\n[stroe]\nmode = 'fast'\n")
    done = wherry("config")
    assert done.returncode == 2
    assert "serve.prot is not a setting (did you mean serve.port?)" in done.stderr
    assert "stroe is not a setting (did you mean store?)" in done.stderr
    assert "hint: `wherry config`" in done.stderr


def test_a_broken_file_is_named_with_its_line(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "wherry.toml").write_text("[serve]\nport = 9000\nhost = \n")
    done = wherry("config")
    assert done.returncode == 2
    assert done.stderr.startswith("error: wherry.toml, line 3: ")
    (tmp_path / "wherry.toml").write_bytes(b"[serve]\nhost = '\xff'\n")
    assert wherry("config").stderr.startswith("error: wherry.toml, line 2: ")


def test_an_unknown_variable_is_a_warning_with_the_nearest(wherry: Wherry) -> None:
    done = wherry("config", "-q", WHERRY_SERVE_PROT="1")
    assert (done.returncode, done.stderr) == (0, "")
    done = wherry("config", WHERRY_SERVE_PROT="1")
    assert done.returncode == 0
    assert "warning: WHERRY_SERVE_PROT is not a setting; did you mean WHERRY_SERVE_PORT?" in done.stderr


def test_the_projects_own_page_travels_with_its_settings(wherry: Wherry, tmp_path: Path) -> None:
    (tmp_path / "wherry.toml").write_text("[reply]\nroot_file = 'page.html'\n")
    missing = wherry("config")
    assert missing.returncode == 2
    assert "reply.root_file cannot be read" in missing.stderr
    (tmp_path / "page.html").write_text("<h1>Beans</h1>\n")
    known = {setting["name"]: setting["value"] for setting in json.loads(wherry("config", "--json").stdout)}
    assert known["reply.root"] == "<h1>Beans</h1>\n"
    assert known["reply.root_file"] == ""
    (tmp_path / "page.html").write_text("<p>" + "x" * 100_000)
    assert "is longer than 100,000 bytes" in wherry("config").stderr
