"""Settings: flag over environment over PORT over file over default, and every problem at once."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.contract.settings import declared, quantity, resolve, to_environ, type_words
from wherry.errors import SettingsRefused


def refused(table: dict[str, Any], environ: dict[str, str] | None = None, **flags: Any) -> dict[str, tuple[str, str]]:
    with pytest.raises(SettingsRefused) as error:
        resolve(table, environ or {}, flags)
    return {problem.path: (problem.reason, problem.hint) for problem in error.value.problems}


def test_what_wins() -> None:
    table = {"serve": {"port": 1111}}
    environ = {"PORT": "2222", "WHERRY_SERVE_PORT": "3333"}
    flags = {"serve.port": 4444}
    assert resolve({}, {}, {}).project.serve.port == 8080
    assert resolve(table, {}, {}).project.serve.port == 1111
    assert resolve(table, {"PORT": "2222"}, {}).project.serve.port == 2222
    assert resolve(table, environ, {}).project.serve.port == 3333
    found = resolve(table, environ, flags)
    assert (found.project.serve.port, found.origins["serve.port"]) == (4444, "flag")
    assert resolve(table, environ, {"serve.port": None}).origins["serve.port"] == "WHERRY_SERVE_PORT"


def test_port_is_the_serving_port_only() -> None:
    found = resolve({}, {"PORT": "2222"}, {}).project
    assert (found.serve.port, found.serve.admin_port, found.deploy.service.port) == (2222, 8082, 80)


def test_hyphens_are_read_as_underscores() -> None:
    table = {"deploy": {"service": {"node-port": 30001, "type": "NodePort"}}}
    assert resolve(table, {}, {}).project.deploy.service.node_port == 30001


def test_all_problems_at_once_each_with_its_path_and_a_suggestion() -> None:
    found = refused(
        {
            "serve": {"prot": 1, "port": "x", "workers": 0},
            "depoly": {"image": "a"},
            "replicas": 3,
            "deploy": {"service": "ClusterIP"},
        }
    )
    assert found["serve.prot"] == ("is not a setting", "did you mean serve.port?")
    assert found["serve.port"][0].startswith("is 'x'")
    assert found["serve.workers"][0].startswith("is 0")
    assert found["depoly"] == ("is not a setting", "did you mean deploy?")
    assert found["replicas"][1] == "did you mean deploy.replicas?"
    assert found["deploy.service"][0] == "is a table, not a value"


def test_an_unknown_variable_is_a_warning_with_a_suggestion() -> None:
    found = resolve({}, {"WHERRY_SERVE_PROT": "1", "WHERRY_BUNDLE": "/srv", "OTHER": "x"}, {})
    assert found.warnings == ("WHERRY_SERVE_PROT is not a setting; did you mean WHERRY_SERVE_PORT?",)


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("WHERRY_SERVE_PAGE", "false", "serve.page", False),
        ("WHERRY_SERVE_ALLOWED_HOSTS", "a.example, b.example", "serve.allowed_hosts", ("a.example", "b.example")),
        ("WHERRY_SERVE_DEFAULTS", '{"age": 3}', "serve.defaults", {"age": 3}),
        ("WHERRY_REPLY_RECORD", '{"label": "$label"}', "reply.record", {"label": "$label"}),
        ("WHERRY_REPLY_ROOT", '"hello"', "reply.root", "hello"),
        ("WHERRY_DEPLOY_REPLICAS", "3", "deploy.replicas", 3),
        ("WHERRY_STORE_ENABLED", "true", "store.enabled", True),
    ],
)
def test_texts_of_the_environment(name: str, text: str, path: str, value: Any) -> None:
    found: Any = resolve({}, {name: text}, {}).project
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize("name", ["WHERRY_SERVE_DEFAULTS", "WHERRY_REPLY_LABELS", "WHERRY_REPLY_RECORD"])
def test_a_table_that_is_no_json_is_a_problem_not_a_crash(name: str) -> None:
    assert name in refused({}, {name: "{not json"})


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"deploy": {"autoscale": {"min": 9, "max": 3}}}, "deploy.autoscale.min"),
        ({"deploy": {"service": {"node_port": 80, "type": "NodePort"}}}, "deploy.service.node_port"),
        ({"deploy": {"service": {"node_port": 30080}}}, "deploy.service.node_port"),
        ({"deploy": {"resources": {"cpu": "2", "cpu_limit": "1500m"}}}, "deploy.resources.cpu"),
        ({"serve": {"port": 8082}}, "serve.admin_port"),
        ({"reply": {"record": {"x": "$predicton"}}}, "reply.record.x"),
        ({"deploy": {"resources": {"memory": "lots"}}}, "deploy.resources.memory"),
    ],
)
def test_what_cannot_work_is_named(table: dict[str, Any], path: str) -> None:
    assert path in refused(table)


def test_settings_travel_by_the_environment() -> None:
    table = {
        "serve": {"page": False, "allowed_hosts": ["a.example"], "defaults": {"x": 1.5}},
        "reply": {"record": {"label": "$label"}, "labels": {"1": "M"}, "root": "hi"},
        "deploy": {"image": "left behind"},
    }
    first = resolve(table, {}, {}).project
    environ = to_environ(first)
    assert not any(name.startswith("WHERRY_DEPLOY") for name in environ)
    second = resolve({}, environ, {}).project
    assert (second.serve, second.reply) == (first.serve, first.reply)


def test_every_setting_is_declared_with_its_help() -> None:
    settings = list(declared())
    assert len({setting.env for setting in settings}) == len(settings)
    for setting in settings:
        assert setting.help, setting.path
        assert type_words(setting.type), setting.path


@pytest.mark.parametrize(
    ("text", "value"), [("250m", 0.25), ("1Gi", 2**30), ("1.5", 1.5), ("2k", 2000.0), ("64Mi", 2**26)]
)
def test_quantities(text: str, value: float) -> None:
    assert quantity(text) == value
