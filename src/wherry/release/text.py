"""Kubernetes objects as text: one YAML stream, the same bytes for the same objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class Plain(yaml.SafeDumper):
    """Writes values out where they stand: an anchor saves bytes and costs the reader."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def written_out(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text of several lines as those lines."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Plain.add_representer(str, written_out)


def to_yaml(objects: Iterable[dict[str, Any]], dumper: type[Plain] = Plain) -> str:
    """The objects in their order, keys in theirs, each behind its `---`."""
    return "".join(
        "---\n" + yaml.dump(made, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120) for made in objects
    )


def files_of(objects: Iterable[dict[str, Any]]) -> dict[str, str]:
    """A file an object, named so that they sort in the order to apply them: 01-serviceaccount.yaml, ..."""
    return {f"{place:02}-{made['kind'].lower()}.yaml": to_yaml([made]) for place, made in enumerate(objects, 1)}
