"""The doors: every form of a request means the same rows, and the fast way reads what the slow way reads."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import EXAMPLE, MIXED, NAMES, SIGNATURE, manifest_of

from wherry.contract.reply import Reply
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Outputs
from wherry.errors import BodyUnreadable, FieldsRefused, RequestRefused
from wherry.server.doors import native, query
from wherry.server.doors.native import Native
from wherry.server.doors.shape import Shapes

ROW = tuple(EXAMPLE.values())
HOUSE = {"size": 2.5, "rooms": 3, "garden": True, "city": "Oslo"}
HOUSE_ROW = (2.5, 3, True, "Oslo")


def decode(value: Any, signature: Signature = SIGNATURE, **options: bool) -> Any:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Native(signature, **options).decode(body)


def test_every_form_means_the_same_rows() -> None:
    values = list(EXAMPLE.values())
    names = list(EXAMPLE)
    assert decode(EXAMPLE).rows == [ROW]
    assert decode(EXAMPLE).single
    for form in (
        [EXAMPLE, EXAMPLE],
        [values, values],
        {"columns": names, "rows": [values, values]},
        {"columns": names, "data": [values, values]},
        {"columns": names, "index": [7, 9], "data": [values, values]},
    ):
        asked = decode(form)
        assert asked.rows == [ROW, ROW]
        assert not asked.single


def test_columns_in_any_order_are_matched_by_name() -> None:
    shuffled = list(EXAMPLE)
    random.Random(7).shuffle(shuffled)
    record = {name: EXAMPLE[name] for name in shuffled}
    assert decode(record).rows == [ROW]
    assert decode([record]).rows == [ROW]
    assert decode({"columns": shuffled, "rows": [[EXAMPLE[name] for name in shuffled]]}).rows == [ROW]


def test_an_empty_list_has_no_rows() -> None:
    assert decode([]).rows == []
    assert decode({"columns": list(NAMES), "rows": []}).rows == []


def test_target_and_unused_columns_are_left_aside_and_counted() -> None:
    asked = decode({**EXAMPLE, "diagnosis": "M", "id": 842302})
    assert asked.rows == [ROW]
    assert asked.ignored == 2


def test_unknown_fields_can_be_ignored() -> None:
    asked = decode({**EXAMPLE, "weather": "fine"}, ignore_unknown=True)
    assert (asked.rows, asked.ignored) == ([ROW], 1)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 names are many: a hundredth of what is."""
    assert native.MOST_NAMES == 100_000
    monkeypatch.setattr(native, "MOST_NAMES", 1000)


def names_of(rows: int, **more: Any) -> bytes:
    return json.dumps([{**EXAMPLE, "id": place, **more} for place in range(rows)]).encode()


@pytest.mark.usefixtures("few")
def test_many_names_are_read_as_long_as_each_is_one_that_there_is() -> None:
    asked = decode(names_of(200))  # 1,400, of which the columns alone are read the fast way
    assert (len(asked.rows), asked.ignored) == (200, 200)
    assert decode(names_of(200, weather="fine"), ignore_unknown=True).ignored == 400
    with pytest.raises(FieldsRefused) as caught:
        decode(names_of(200, area_es=1))
    assert str(caught.value) == "area_es is not a name that this service reads"
    assert caught.value.hint == "did you mean area_se?"
    with pytest.raises(FieldsRefused, match="and 99 more"):  # few names: every problem is told, as ever
        decode(names_of(100, area_es=1))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", ["it's", 'said "so"', "back\\slash", "caf\u00e9", "x" * 1000, "\n", "\U0001f600", ""])
def test_a_name_that_is_none_among_many_is_told(name: str) -> None:
    body = b'{"instances": %b}' % names_of(200)
    assert Native(SIGNATURE).parse(body)["instances"][3]["id"] == 3
    rows = json.loads(names_of(200))
    rows[7][name] = 1
    with pytest.raises(FieldsRefused) as caught:
        Native(SIGNATURE).parse(json.dumps(rows).encode())
    (problem,) = caught.value.problems
    assert (problem.row, problem.field) == (7, name[:200])


@pytest.mark.usefixtures("few")
def test_texts_may_hold_as_many_names_as_they_like() -> None:
    café = Signature((Column("café", "string", nullable=True), Column("size", "integer")), SIGNATURE.output)
    said = json.dumps({f"k{place}": 1 for place in range(1500)})
    for body in (
        json.dumps([{"café": said, "size": 2.0}]),
        json.dumps([{"café": said, "size": 2.0}], ensure_ascii=False),
    ):
        assert decode(body.encode(), café).rows == [(said, 2)]


@pytest.mark.usefixtures("few")
def test_many_names_within_each_other_without_end_are_refused() -> None:
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    with pytest.raises(BodyUnreadable, match="nested too deeply"):
        decode(names_of(200, id=deep))


def test_keys_that_are_columns_win_over_the_envelope() -> None:
    signature = Signature(
        columns=tuple(Column(name, "number") for name in ("columns", "rows", "data")),
        output=OutputSpec("number", "number"),
    )
    asked = decode({"columns": 1, "rows": 2, "data": 3}, signature)
    assert (asked.rows, asked.single) == ([(1.0, 2.0, 3.0)], True)


def test_types() -> None:
    assert decode(HOUSE, MIXED).rows == [HOUSE_ROW]
    assert decode({**HOUSE, "size": None}, MIXED).rows == [(None, 3, True, "Oslo")]
    rooms = decode({**HOUSE, "rooms": 2.0}, MIXED).rows[0][1]
    assert (rooms, type(rooms)) == (2, int)
    for name, value, reason in (
        ("rooms", 2.5, "is 2.5, not a whole number"),
        ("rooms", True, "is true or false, not a whole number"),
        ("rooms", 2**63, "does not fit in 64 bits"),
        ("rooms", None, "is null, and may not be missing"),
        ("garden", 1, "is a number, not true or false"),
        ("garden", "true", "is a text, not true or false"),
        ("city", "Osl", "is 'Osl', which the model has never seen"),
        ("size", "2.5", "is a text, not a number"),
        ("size", True, "is true or false, not a number"),
        ("size", [1], "is a list, not a number"),
    ):
        with pytest.raises(FieldsRefused) as refused:
            decode({**HOUSE, name: value}, MIXED)
        assert [(p.field, p.reason) for p in refused.value.problems] == [(name, reason)]


def test_a_default_stands_in_for_a_missing_column() -> None:
    columns = (Column("a", "number"), Column("b", "integer", default=7))
    signature = Signature(columns=columns, output=OutputSpec("number", "number"))
    assert decode({"a": 1}, signature).rows == [(1.0, 7)]
    assert decode([{"a": 1}], signature).rows == [(1.0, 7)]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"columns": "a", "rows": []}, "columns"),
        ({"columns": ["a", "a"], "rows": []}, "a"),
        ({"columns": ["a"]}, "data"),
        ({"columns": ["a"], "rows": [], "data": []}, "data"),
        ({"columns": ["a"], "rows": [], "store": False}, "store"),
        ({"columns": ["a", "b"], "rows": [[1]]}, ""),
        ({"columns": ["a"], "rows": [{"a": 1}]}, ""),
    ],
)
def test_a_wrong_envelope_is_named(value: Any, field: str) -> None:
    with pytest.raises(FieldsRefused) as refused:
        decode(value)
    assert refused.value.problems[0].field == field


names = st.sampled_from([*HOUSE, "town", "columns"])
cells: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3), st.sampled_from(["Oslo", "Bergen", 2.0]), st.lists(st.integers(), max_size=2),
)  # fmt: skip


good = st.fixed_dictionaries(
    {
        "size": st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "rooms": st.integers(-(2**64), 2**64) | st.sampled_from([2.0, 2.5]),
        "garden": st.booleans(),
        "city": st.sampled_from(["Oslo", "Bergen", "Rome"]),
    }
)


@settings(max_examples=300, deadline=None)
@given(
    record=st.one_of(st.dictionaries(names, cells), st.fixed_dictionaries(dict.fromkeys(HOUSE, cells)), good),
    form=st.sampled_from(["record", "records", "lists", "table"]),
)
def test_the_fast_way_reads_what_the_slow_way_reads(record: dict[str, Any], form: str) -> None:
    native = Native(MIXED)
    value: Any = {
        "record": record,
        "records": [record, record],
        "lists": [list(record.values())] * 2,
        "table": {"columns": list(record), "rows": [list(record.values())] * 2},
    }[form]
    body = json.dumps(value).encode()
    assert native.fast is not None

    def outcome() -> Any:
        try:
            rows = native.decode(body).rows
        except RequestRefused as error:
            return str(error)
        return [[(type(cell), cell) for cell in row] for row in rows]

    both = outcome()
    native.fast = None
    assert outcome() == both


values = st.recursive(cells, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=20)


@settings(max_examples=150, deadline=None)
@given(body=st.one_of(st.binary(max_size=60), values.map(lambda value: json.dumps(value).encode())))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    for signature in (SIGNATURE, MIXED):
        try:
            Native(signature).decode(body)
        except RequestRefused as error:
            assert str(error)


# The query


def ask(text: str, signature: Signature = MIXED) -> Any:
    return query.decode(text.encode(), signature)


def test_a_query_is_read_by_the_columns_types() -> None:
    assert ask(urlencode({"size": 2.5, "rooms": 3, "garden": "true", "city": "Oslo"})).rows == [HOUSE_ROW]
    assert ask("size=&rooms=3&garden=0&city=Oslo").rows == [(None, 3, False, "Oslo")]
    assert ask("size=2.5&rooms=2.0&garden=1&city=Oslo").rows == [(2.5, 2, True, "Oslo")]
    assert ask("size=1e1&rooms=-3&garden=False&city=Oslo").rows == [(10.0, -3, False, "Oslo")]


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("size=x&rooms=3&garden=1&city=Oslo", "size", "is a text, not a number"),
        ("size=1_0&rooms=3&garden=1&city=Oslo", "size", "is a text, not a number"),
        ("size=1&rooms=2.5&garden=1&city=Oslo", "rooms", "is 2.5, not a whole number"),
        ("size=1&rooms=&garden=1&city=Oslo", "rooms", "is a text, not a whole number"),
        ("size=1&rooms=3&garden=perhaps&city=Oslo", "garden", "is a text, not true or false"),
        ("size=1&rooms=3&garden=1&city=Rome", "city", "is 'Rome', which the model has never seen"),
        ("size=1&size=2&rooms=3&garden=1&city=Oslo", "size", "is given twice"),
        ("size=1&rooms=3&garden=1&citty=Oslo", "city", "is missing"),
        (f"size=1&rooms={'9' * 5000}&garden=1&city=Oslo", "rooms", "does not fit in 64 bits"),
    ],
)
def test_a_wrong_query_is_named(text: str, field: str, reason: str) -> None:
    with pytest.raises(FieldsRefused) as refused:
        ask(text)
    first = refused.value.problems[0]
    assert (first.field, first.reason) == (field, reason)


@pytest.mark.parametrize("text", ["size=NaN&rooms=3", "size=-Infinity", "size=%ff"])
def test_an_unreadable_query(text: str) -> None:
    with pytest.raises(BodyUnreadable):
        ask(text)


# Replies

MANIFEST = manifest_of()
ONE = Outputs([1], [[0.25, 0.75]])
TWO = Outputs([1, 0], [[0.25, 0.75], [0.9, 0.1]])


def written(reply: Reply, outputs: Outputs = ONE, *, single: bool = True, **options: bool) -> str:
    chosen = {"native": False, "probabilities": False, **options}
    return Shapes(MANIFEST, reply).choose(single, **chosen)(outputs, "i").decode()


def test_the_native_shape() -> None:
    assert written(Reply()) == '{"prediction":1}'
    assert written(Reply(), TWO, single=False) == '{"predictions":[1,0]}'
    assert written(Reply(), ONE, single=False) == '{"predictions":[1]}'
    assert written(Reply(), Outputs([]), single=False) == '{"predictions":[]}'
    assert written(Reply(), probabilities=True) == '{"prediction":1,"probabilities":[0.25,0.75]}'
    both = written(Reply(), TWO, single=False, probabilities=True)
    assert both == '{"predictions":[1,0],"probabilities":[[0.25,0.75],[0.9,0.1]]}'


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (Reply(record={"output": "$predictions"}), '{"output":[1]}'),
        (
            Reply(
                record={"label": "$label", "prediction": "$prediction"}, labels={"0": "B", "1": "M"}
            ),
            '{"label":"M","prediction":1}',
        ),
        (
            Reply(
                record={"predictions": [{"label": "$label", "probability": "$probability"}], "success": True}
            ),
            '{"predictions":[{"label":1,"probability":0.75}],"success":true}',
        ),
        (Reply(record={"predictions": "$json:labels"}, labels={"1": "DERMASON"}), '{"predictions":"[\\"DERMASON\\"]"}'),
        (Reply(record={"cost": "$$5", "n": None, "of": [], "by": {}}), '{"cost":"$5","n":null,"of":[],"by":{}}'),
        (Reply(record=["$id", "$ids", "$name", "$version"]), '["i",["i"],"breast","1"]'),
        (Reply(record="$prediction"), "1"),
    ],
)  # fmt: skip
def test_declared_shapes(reply: Reply, body: str) -> None:
    assert written(reply) == body
    assert written(reply, native=True) == '{"prediction":1}'


def test_rows_take_the_records_shape_unless_they_have_their_own() -> None:
    record = {"p": "$predictions"}
    assert written(Reply(record=record), TWO, single=False) == '{"p":[1,0]}'
    assert written(Reply(record=record, rows={"q": "$ids"}), TWO, single=False) == '{"q":["i","i-1"]}'
    assert written(Reply(rows={"q": "$labels"})) == '{"prediction":1}'
