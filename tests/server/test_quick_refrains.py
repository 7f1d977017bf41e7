"""What more is to be done with than to add and compare, in any order, is not quick: and is answered as ever."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import serving
from quick_parts import ONE, classes, drawn, known, post, received, scorer
from serving import SIGNATURE, Fake, Kept, Running, ask

from wherry.contract.project import Project, Serve, Shadow
from wherry.contract.reply import Reply
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.model.flavors.linear import LinearScorer
from wherry.server import quick
from wherry.server.doors import native
from wherry.server.replies import Replies

pytest.importorskip("wherry.server._quick", reason="quick answers are not compiled: no compiler")


def altered(**arrays: Any) -> LinearScorer:
    return LinearScorer(msgspec.structs.replace(scorer().model, **arrays))


def wide(columns: int, count: int) -> tuple[LinearScorer, Signature]:
    model = drawn(np.random.default_rng(3), "argmax", count, columns)
    named = tuple(Column(f"c{place}", "number", low=0.0, high=9.0) for place in range(columns))
    return model, Signature(named, OutputSpec("class", "integer", classes=tuple(range(count))))


NUMBER = msgspec.structs.replace(SIGNATURE, output=OutputSpec("number", "number"))
FORM = scorer().model.form
NULLABLE = msgspec.structs.replace(
    SIGNATURE, columns=(msgspec.structs.replace(SIGNATURE.columns[0], nullable=True), *SIGNATURE.columns[1:])
)
OTHERWISE: dict[str, Callable[[], dict[str, Any]]] = {
    "store": lambda: {"journal": Kept()},
    "cors": lambda: {"project": serving.project(cors_origins=("https://pages.example",))},
    "access log": lambda: {"project": serving.project(access_log=1.0)},
    "shadow": lambda: {"project": Project(serve=Serve(shadow=Shadow(url="http://127.0.0.1:9", share=1.0)))},
    "declared": lambda: {"project": Project(reply=Reply(record={"prediction": "$prediction", "kind": "ours"}))},
    "probabilities": lambda: {"project": serving.project(probabilities="always")},
    "thread": lambda: {"project": serving.project(scoring="thread")},
    "regression": lambda: {
        "predictor": altered(form=msgspec.structs.replace(FORM, decide="number", link="none")),
        "signature": NUMBER,
    },
    "clipped": lambda: {"predictor": altered(high=np.full(6, 5000.0))},
    "centered": lambda: {"predictor": altered(center=np.full(6, 0.001))},
    "missing": lambda: {"predictor": altered(missing=np.zeros((6, 1)))},
    "nullable": lambda: {"signature": NULLABLE},
    "no sums": lambda: {"predictor": Fake(serving.label_of)},
    "classes": lambda: dict(zip(("predictor", "signature"), wide(2, 65), strict=True)),
    "columns": lambda: dict(zip(("predictor", "signature"), wide(257, 2), strict=True)),
    "traces": dict,
    "reader": dict,
    "module": dict,
}


@pytest.mark.parametrize("why", OTHERWISE)
def test_what_more_is_to_be_done_with_is_not_quick(
    why: str, monkeypatch: pytest.MonkeyPatch, reads: list[bytes]
) -> None:
    class Noting:
        def note(self, *what: Any) -> None: ...

    if why == "traces":
        monkeypatch.setattr(serving, "Replies", partial(Replies, traces=Noting()))
    if why == "reader":
        monkeypatch.setattr(native, "_flat", None)
    if why == "module":
        monkeypatch.setattr(quick, "_quick", None)
    options: dict[str, Any] = {"predictor": scorer(), "signature": SIGNATURE} | OTHERWISE[why]()
    names = options["signature"].names
    records = [dict.fromkeys(names, 0.25), dict.fromkeys(names, 2.5), dict(zip(names, ONE.values(), strict=False))]
    records = [each for each in records if len(each) == len(names)]
    right = options["predictor"].score([tuple(each.values()) for each in records]).predictions
    with Running(**options) as service, socket.create_connection(service.address, timeout=10) as sock:
        assert service.predictions.leased is None
        for _ in range(4):
            for record, answer in zip(records, right, strict=True):
                sock.sendall(post(record))
                assert classes(received(sock)) == [pytest.approx(answer)]
        assert len(reads) == 4 * len(records)
        assert not service.port.ways


def test_whoever_has_a_token_is_asked_for_it_each_time(tmp_path: Path, reads: list[bytes]) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-some-length\n")
    sent = {"Authorization": "Bearer a-token-of-some-length"}
    with Running(scorer(), tokens=tokens, project=serving.project(token_file=str(tokens))) as service:
        with socket.create_connection(service.address, timeout=10) as sock:
            for headers, status in ((sent, b"200"), ({}, b"401"), (sent, b"200")) * 2:
                sock.sendall(post(ONE, **headers))
                assert received(sock)[0][9:12] == status
        assert len(reads) == 6 and not service.port.ways


@pytest.mark.usefixtures("long_leases")
@pytest.mark.parametrize(("columns", "count"), [(2, 64), (256, 64), (1, 2)])
def test_the_largest_that_is_quick(columns: int, count: int, reads: list[bytes]) -> None:
    model, signature = wide(columns, count)
    record = dict.fromkeys(signature.names, 1.5)
    with Running(model, signature=signature) as service:
        assert service.predictions.leased is not None
        for _ in range(4):
            found = ask(service.address, "POST", "/predict", record).json
            assert found == {"prediction": model.score([tuple(record.values())]).predictions[0]}
        data = post(record)
        if len(data) < 4096:
            with socket.create_connection(service.address, timeout=10) as sock:
                known(sock, record)
                reads.clear()
                sock.sendall(data)
                assert classes(received(sock)) == [found["prediction"]] and not reads
