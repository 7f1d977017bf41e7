"""The image as text: one golden Dockerfile, and what may never be in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.errors import SettingsRefused
from wherry.release.image import default_base, image_environ, plan, quoted, wanted

Declare = Callable[[dict[str, Any]], Project]
BASE = "python@sha256:" + "2" * 64
WHEEL = ("wherry-0.1.0-py3-none-any.whl", b"wheel")


def test_dockerfile_is_the_golden_file(
    manifest: Manifest, declare: Declare, golden: Callable[[str, str], None]
) -> None:
    project = declare({"serve": {"defaults": {"it's": "$5"}}, "reply": {"record": {"output": "$predictions"}}})
    made = plan(project, manifest, base=BASE, base_name="python:3.11-slim", requirements="numpy==2.0.0\n", wheel=WHEEL)
    text = made.dockerfile.replace(made.content_tag, "CONTENT")
    golden("Dockerfile", text)
    assert made == plan(
        project, manifest, base=BASE, base_name="python:3.11-slim", requirements="numpy==2.0.0\n", wheel=WHEEL
    )


def test_tag_changes_with_everything_in_the_image(manifest: Manifest, declare: Declare) -> None:
    given: dict[str, Any] = {"base": BASE, "requirements": "numpy==2.0.0\n", "wheel": WHEEL}
    tags = {
        plan(declare({}), manifest, **given).content_tag,
        plan(declare({}), msgspec.structs.replace(manifest, version="2").sealed(), **given).content_tag,
        plan(declare({"serve": {"docs": False}}), manifest, **given).content_tag,
        plan(declare({}), manifest, **{**given, "base": BASE.replace("2", "3")}).content_tag,
        plan(declare({}), manifest, **{**given, "requirements": "numpy==2.0.1\n"}).content_tag,
        plan(declare({}), manifest, **{**given, "wheel": (WHEEL[0], b"other")}).content_tag,
        plan(declare({}), manifest, **given, unpack=b"other").content_tag,
    }
    assert len(tags) == 7
    assert all(len(tag) == 12 and set(tag) <= set("0123456789abcdef") for tag in tags)
    # What only the cluster reads does not make another image.
    assert plan(declare({"deploy": {"replicas": 3}}), manifest, **given).content_tag in tags


def test_base_is_the_python_of_the_bundle_unless_named(manifest: Manifest, declare: Declare) -> None:
    assert default_base(manifest) == "python:3.11-slim"
    needs = msgspec.structs.replace(manifest.requirements, packages={"lightgbm": "4.7.0"})
    assert default_base(msgspec.structs.replace(manifest, requirements=needs)) == "python:3.11"
    assert plan(declare({}), manifest).base == "python:3.11-slim"
    assert plan(declare({"image": {"base": "mine:1"}}), manifest).base == "mine:1"


def test_image_holds_the_runtime_and_what_the_bundle_and_the_store_need(manifest: Manifest, declare: Declare) -> None:
    needy = msgspec.structs.replace(
        manifest, requirements=msgspec.structs.replace(manifest.requirements, packages={"numpy": "2.0.0", "skops": "1"})
    )
    lean = {"httptools": "", "msgspec": "", "numpy": "2.0.0", "skops": "1", "uvloop": ""}
    assert wanted(declare({}), needy) == lean
    storing = declare({"store": {"url": "postgresql+psycopg://writer@db/x"}})
    assert wanted(storing, needy) == {**lean, "psycopg": "", "sqlalchemy": ""}
    telling = declare({"serve": {"collector": "http://collector:4318"}})
    sdk = {"opentelemetry-exporter-otlp-proto-http": "", "opentelemetry-sdk": ""}
    assert wanted(telling, needy) == {**lean, **sdk}
    assert "WHERRY_SERVE_COLLECTOR=http://collector:4318" in plan(telling, manifest).dockerfile


def test_image_holds_no_password_and_no_file_of_the_desk(manifest: Manifest, declare: Declare) -> None:
    project = declare(
        {
            "serve": {"host": "127.0.0.9", "token_file": "desk/tokens"},
            "store": {"url": "mysql://writer:not-shown@db:3306/x"},
        }
    )
    text = plan(project, manifest).dockerfile
    assert "not-shown" not in text
    assert "desk/tokens" not in text
    assert image_environ(project)["WHERRY_SERVE_HOST"] == "0.0.0.0"
    assert "WHERRY_STORE_ENABLED" not in image_environ(project)
    assert "WHERRY_STORE_ENABLED" not in image_environ(declare({"store": {"enabled": True}}))


def test_what_only_the_store_needs_is_a_layer_of_its_own(
    manifest: Manifest, declare: Declare, golden: Callable[[str, str], None]
) -> None:
    """Absent where predictions are not stored, and the libraries' layer is the same with it."""
    locked = "numpy==2.0.0 --hash=sha256:1\npsycopg-binary==3.3 --hash=sha256:2\nsqlalchemy==2.1 --hash=sha256:3\n"
    stored = plan(
        declare({"store": {"url": "postgresql://writer@db:5432/x"}}),
        manifest,
        base=BASE,
        base_name="python:3.11-slim",
        requirements=locked,
        wheel=WHEEL,
    )
    assert stored.context["requirements.txt"].decode() == locked.splitlines(keepends=True)[0]
    assert stored.context["store.txt"].decode() == "".join(locked.splitlines(keepends=True)[1:])
    assert stored.locked == locked
    assert stored.config.environ["PYTHONPATH"] == "/opt/wherry:/opt/libraries:/opt/store"
    assert "!store.txt" in stored.dockerignore
    golden("Dockerfile-store", stored.dockerfile.replace(stored.content_tag, "CONTENT"))
    plain = plan(declare({}), manifest, requirements=locked, wheel=WHEEL)
    assert "store" not in plain.dockerfile + plain.dockerignore
    assert plain.context["requirements.txt"].decode() == plain.locked == locked


def test_context_holds_only_what_the_build_copies(manifest: Manifest, declare: Declare) -> None:
    made = plan(declare({}), manifest, wheel=WHEEL)
    assert sorted(made.context) == ["requirements.txt", "unpack.py", f"wheels/{WHEEL[0]}"]
    assert made.bundle_files == ("manifest.json", "model.npz")
    assert made.dockerignore.splitlines()[0] == "*"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("plain", "plain"),
        ("", "''"),
        ('{"a":"$b"}', '\'{"a":"$b"}\''),
        ("it's $5 \\", '"it\'s \\$5 \\\\"'),
    ],
)
def test_values_are_quoted_so_that_a_dockerfile_takes_them_literally(text: str, written: str) -> None:
    assert quoted(text) == written


def test_setting_too_long_for_a_dockerfile_is_named(manifest: Manifest, declare: Declare) -> None:
    with pytest.raises(SettingsRefused, match="WHERRY_REPLY_ROOT"):
        plan(declare({"reply": {"root": "x" * 61_000}}), manifest)
