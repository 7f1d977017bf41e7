"""Databases of a release: one beside it, one that others run, and a spool that outlives its pod."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.release.databases import RECIPES
from wherry.release.image import image_environ, wanted
from wherry.release.release import Release, compose
from wherry.release.text import to_yaml

Declare = Callable[[dict[str, Any]], Project]


def release(project: Project, manifest: Manifest) -> Release:
    return compose(project, manifest, image="registry.example/breast:1", namespace="models", local=True)


def named(release: Release, kind: str, name: str) -> dict[str, Any]:
    return next(made for made in release.objects if made["kind"] == kind and made["metadata"]["name"] == name)


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_a_database_beside_the_service_is_reached_by_its_pods_alone(
    kind: str, manifest: Manifest, declare: Declare
) -> None:
    made, recipe = release(declare({"store": {"database": {"kind": kind}}}), manifest), RECIPES[kind]
    rule = named(made, "NetworkPolicy", "breast-cancer-database")["spec"]
    pods = made.workload["spec"]["template"]["metadata"]["labels"]
    database = named(made, "StatefulSet", "breast-cancer-database")["spec"]
    assert rule["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items() <= pods.items()
    assert rule["egress"] == []
    ways_out = named(made, "NetworkPolicy", "breast-cancer")["spec"]["egress"]
    assert (
        ways_out[-1]["to"][0]["podSelector"]["matchLabels"].items()
        <= database["template"]["metadata"]["labels"].items()
    )
    assert ways_out[-1]["ports"] == [{"protocol": "TCP", "port": recipe.port}]
    for kind_of in ("Service", "NetworkPolicy"):
        assert made.find(kind_of)["metadata"]["name"] == "breast-cancer", "what is asked is the service"
    # Neither takes the other's pods for its own.
    assert not made.workload["spec"]["selector"]["matchLabels"].items() <= database["selector"]["matchLabels"].items()
    assert (
        not named(made, "Service", "breast-cancer")["spec"]["selector"].items()
        <= database["selector"]["matchLabels"].items()
    )


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_data_lies_below_the_mount_so_that_lost_and_found_harms_nothing(kind: str) -> None:
    recipe = RECIPES[kind]
    told = " ".join([*recipe.command, *recipe.environ("db", "/secrets").values()])
    assert f"{recipe.mount}/" in told


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_passwords_are_files_that_deploy_makes_and_never_rendered(
    kind: str, manifest: Manifest, declare: Declare
) -> None:
    made = release(declare({"store": {"database": {"kind": kind}}}), manifest)
    (secret,) = made.secrets
    assert (secret.name, secret.key, secret.random) == ("breast-cancer-database", "password", RECIPES[kind].keys)
    assert "kind: Secret\n" not in to_yaml(made.objects)
    settings = made.find("ConfigMap")
    assert settings is not None
    assert settings["data"]["WHERRY_STORE_PASSWORD_FILE"] == "/var/run/wherry/store/password"
    assert settings["data"]["WHERRY_STORE_URL"].endswith(f"@breast-cancer-database:{RECIPES[kind].port}/breast_cancer")


def test_secret_of_others_is_named_by_its_keys_alone(manifest: Manifest, declare: Declare) -> None:
    url = "postgresql://writer@db.models:5432/predictions"
    made = release(declare({"store": {"url": url, "secret": {"name": "theirs", "password": "pw"}}}), manifest)
    assert [(one.name, one.key, one.random) for one in made.secrets] == [("theirs", "pw", ())]
    assert made.find("ConfigMap")["data"]["WHERRY_STORE_URL"] == url
    whole = release(declare({"store": {"url": url, "secret": {"name": "theirs", "url": "uri"}}}), manifest)
    assert [(one.name, one.key) for one in whole.secrets] == [("theirs", "uri")]
    data = whole.find("ConfigMap")["data"]
    assert "WHERRY_STORE_URL" not in data
    assert data["WHERRY_STORE_URL_FILE"] == "/var/run/wherry/store/url"


def test_image_holds_the_driver_of_a_database_beside_it_and_not_its_address(
    manifest: Manifest, declare: Declare
) -> None:
    project = declare({"store": {"database": {"kind": "postgres"}}})
    assert {"sqlalchemy", "psycopg"} <= set(wanted(project, manifest))
    assert not [name for name in image_environ(project) if name.startswith("WHERRY_STORE")]


def test_strict_pods_find_their_spool_again_and_durable_ones_say_that_theirs_ends(
    manifest: Manifest, declare: Declare
) -> None:
    url = "mysql://u@192.0.2.7/x"
    strict = release(declare({"store": {"url": url, "mode": "strict"}}), manifest)
    spec = strict.workload["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    pod = spec["template"]["spec"]
    assert claim["metadata"]["name"] == "spool"
    assert "spool" not in [volume["name"] for volume in pod["volumes"]]
    assert {"name": "spool", "mountPath": "/var/spool/wherry"} in pod["containers"][0]["volumeMounts"]
    assert strict.find("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
    durable = release(declare({"store": {"url": url}}), manifest).workload["spec"]["template"]["spec"]
    assert {"name": "WHERRY_SPOOL_ENDS_WITH", "value": "pod"} in durable["containers"][0]["env"]
    assert {"name": "WHERRY_SPOOL_ENDS_WITH", "value": "pod"} not in pod["containers"][0]["env"]
