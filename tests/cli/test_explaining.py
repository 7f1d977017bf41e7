"""What --explain prints."""

from __future__ import annotations

import json

import pytest

from wherry.cli.console import Console
from wherry.cli.explaining import lines, show
from wherry.deploy.explain import Explanation, Finding
from wherry.deploy.layers import Layer, Part

PARTS = (Part("numpy", "2.4.6", 51_000_000), Part("msgspec", "0.22.0", 620_000))
EXPLANATION = Explanation(
    base=f"python@sha256:{'cfd314362b74' + 'a' * 52}",
    base_size=45_000_000,
    layers=(Layer("libraries", "sha256:1", 20_000_000, "sha256:2", 51_620_000, PARTS),),
    changes=("libraries: numpy 2.4.5 is 2.4.6 (+1,024 bytes compressed)",),
    published=("it is localhost:5000/breast:7 as it is there",),
    advice=(),
    findings=(Finding("files that run as another user (setuid, setgid)", tuple(f"/bin/{n}" for n in range(14))),),
)


def test_explanation_is_tables_that_a_person_reads() -> None:
    assert list(lines(EXPLANATION, 0)) == [
        "LAYER             PACKAGE                     VERSION  COMPRESSED  UNPACKED",
        "base              python@sha256:cfd314362b74                45 MB",
        "libraries                                                   20 MB     52 MB",
        "                  numpy                       2.4.6                   51 MB",
        "                  msgspec                     0.22.0                 620 kB",
        "all but the base                                            20 MB     52 MB",
        "",
        "Since the last build:",
        "  libraries: numpy 2.4.5 is 2.4.6 (+1,024 bytes compressed)",
        "",
        "Against the registry:",
        "  it is localhost:5000/breast:7 as it is there",
        "",
        "What would shrink it:",
        "  nothing that wherry knows of",
        "",
        "Found in the base, not in our layers:",
        "  files that run as another user (setuid, setgid): "
        + ", ".join(f"/bin/{number}" for number in range(12))
        + " and 2 more",
    ]


def test_explanation_is_one_json_document_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    show(Console(as_json=True), EXPLANATION)
    told = json.loads(capsys.readouterr().out)
    assert told["layers"][0]["parts"][0] == {"name": "numpy", "version": "2.4.6", "size": 51_000_000}
    assert told["findings"][0]["paths"][0] == "/bin/0"
