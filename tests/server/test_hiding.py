"""What a driver says is told without the password, and nothing but the password is hidden."""

from __future__ import annotations

import pytest

from wherry.server.sinks.hiding import MASK, UNSHOWN, hidden

URL = "cannot parse 'mysql://jo:{}@db:1/x'"


@pytest.mark.parametrize(
    ("password", "text", "told"),
    [
        # a long one: wherever it is a word of its own
        ("hunter2hunter2", "said hunter2hunter2, twice: (hunter2hunter2)", "said ***, twice: (***)"),
        ("p@ss/w?rd", URL.format("p%40ss%2Fw%3Frd"), URL.format(MASK)),
        ("database", "databases: the database is away", "databases: the *** is away"),
        # a short one: as a password or in quotes
        ("p", "connection to port 1 failed", "connection to port 1 failed"),
        ("1", "connection to port 1 failed", "connection to port 1 failed"),
        ("port", "connection to port 1 failed", "connection to port 1 failed"),
        ("p", URL.format("p"), URL.format(MASK)),
        ("a/b", URL.format("a%2Fb"), URL.format(MASK)),
        ("p", "host=db Password=p port=1", "host=db Password=*** port=1"),
        ("p", "host=db password='p' port=1", "host=db password='***' port=1"),
        ("root", "Access denied for user 'root'@'db'", "Access denied for user '***'@'db'"),
        # and where it says it once as a password, no other word tells it either
        ("abc", "bad url //jo:abc@db near abc", UNSHOWN),
        ("", "no password at all", "no password at all"),
    ],
)
def test_only_the_password_is_hidden(password: str, text: str, told: str) -> None:
    assert hidden(text, password) == told
