"""Records of numbers that reach the model as float64, as they were read: nobody can tell them from other rows."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence

import numpy as np
import pytest
from serving import EXAMPLE, NAMES, Answer, Linearly, Running, replies, request

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Cells, Gathered, Outputs, Row, Rows
from wherry.model.matrix import matrix
from wherry.server.batching import Job, gathered
from wherry.server.doors import native
from wherry.server.doors.native import Native, flat
from wherry.server.journal import Entry, NoJournal

pytest.importorskip("wherry.server.doors._flat", reason="needs the reader of records, which a C compiler makes")
MIXED = Signature(
    columns=(Column("size", "number"), Column("rooms", "integer"), Column("height", "number")),
    output=OutputSpec("number", "number"),
)
RECORDS = [{"size": 0.1 + place, "rooms": place, "height": -place / 3} for place in range(20)]


class Kept:
    """A journal in a list."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)

    def commit(self) -> None: ...

    def __getattr__(self, name: str) -> object:
        return getattr(NoJournal(), name)


class Summing:
    """Answers each row's sum, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Gathered | Sequence[Row]] = []

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        self.asked.append(rows)
        return Outputs([float(sum(cell for cell in row if cell is not None)) for row in rows])  # type: ignore[misc]  # numbers


def reader() -> native.Flat:
    found = flat(MIXED)
    assert found is not None
    return found


def cells(*records: dict[str, float]) -> Cells:
    blocks = [reader().read(json.dumps(record).encode()) for record in records]
    return Cells(b"".join(block or b"" for block in blocks), len(records), reader().unpack)


def test_cells_are_a_sequence_of_rows() -> None:
    rows = cells(*RECORDS[:3])
    assert isinstance(rows, Sequence) and len(rows) == 3
    assert list(rows) == [tuple(record.values()) for record in RECORDS[:3]]
    assert [type(cell) for cell in rows[1]] == [float, int, float]
    assert rows[1:] == list(rows)[1:] and rows[-1] == list(rows)[-1]
    assert np.array_equal(matrix(rows), np.array(list(rows)))


def test_only_records_of_numbers_alone_are_read_so() -> None:
    for column in (
        Column("x", "string"),
        Column("x", "boolean"),
        Column("x", "number", nullable=True),
        Column("x", "integer", categories=(1, 2), unknown_ok=False),
        Column('a"b', "number"),
    ):
        assert flat(Signature(columns=(Column("size", "number"), column), output=MIXED.output)) is None


def test_jobs_whose_rows_are_cells_are_one_block_and_others_are_rows() -> None:
    one, two, plain = Job(cells(RECORDS[1])), Job(cells(RECORDS[2])), Job([(1.0, 2, 3.0)])  # type: ignore[arg-type]  # cells are a sequence
    assert gathered([one], None) is one.rows
    both = gathered([one, two], None)
    assert isinstance(both, Cells) and list(both) == [*one.rows, *two.rows]
    for jobs in ([one, plain], [plain, one], [plain]):
        rows = gathered(jobs, None)
        assert isinstance(rows, Rows) and rows == [row for job in jobs for row in job.rows]


def answers(signature: Signature, bodies: Sequence[object]) -> tuple[list[Answer], Summing, Kept]:
    """What a service says to these bodies, one by one and all at once; its model; what it kept."""
    model, kept = Summing(), Kept()
    sent = [request("POST", "/predict", json.dumps(body).encode()) for body in bodies]
    found: list[Answer] = []
    with Running(model, signature=signature, journal=kept) as service:  # type: ignore[arg-type]  # as much as is asked of it
        with socket.create_connection(service.address, timeout=10) as sock:
            for data in sent * 2:  # the second time the header is known
                sock.sendall(data)
                found += replies(sock.recv(65536))
        many = [socket.create_connection(service.address, timeout=10) for _ in sent]
        for sock, data in zip(many, sent, strict=True):
            sock.sendall(data)
        for sock in many:
            found += replies(sock.recv(65536))
            sock.close()
    return found, model, kept


def test_nobody_can_tell_how_a_record_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[object] = [*RECORDS, dict(reversed(RECORDS[3].items())), [RECORDS[4]], {**RECORDS[5], "rooms": "five"}]
    bodies += [{"size": 1, "rooms": 2, "height": 1e300}, {"size": 1.5, "rooms": 2.0, "height": 3}, {"size": 1.5}]
    straight, model, kept = answers(MIXED, bodies)
    assert any(isinstance(rows, Cells) for rows in model.asked)
    monkeypatch.setattr(native, "_flat", None)
    plain, other, also = answers(MIXED, bodies)
    assert not any(isinstance(rows, Cells) for rows in other.asked)
    assert {200, 422} == {answer.status for answer in straight}

    def said(answer: Answer) -> tuple[int, object]:
        told = json.loads(answer.body)
        told.pop("request_id", None)
        return answer.status, told

    assert list(map(said, straight)) == list(map(said, plain))
    rows = [[(row, [type(cell) for cell in row]) for row in entry.rows] for entry in kept.entries]
    assert sorted(rows, key=str) == sorted(
        [[(row, [type(cell) for cell in row]) for row in entry.rows] for entry in also.entries], key=str
    )
    assert len(rows) == sum(answer.status == 200 for answer in straight)


def test_what_is_not_flawless_is_named_as_ever() -> None:
    assert Native(MIXED).flat is not None
    with Running(Linearly()) as service, socket.create_connection(service.address, timeout=10) as sock:
        for wrong, word in (({**EXAMPLE, NAMES[0]: "x"}, NAMES[0]), ({**EXAMPLE, "more": 1}, "more"), ({}, NAMES[1])):
            for _ in range(2):
                sock.sendall(request("POST", "/predict", json.dumps(wrong).encode()))
                assert word.encode() in sock.recv(65536)
