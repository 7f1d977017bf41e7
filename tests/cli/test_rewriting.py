"""A project's file with settings changed: everything else stays as a person wrote it."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.cli.rewriting import difference, file_of, replace, rewritten
from wherry.errors import SettingsRefused

CHANGES = {"deploy.resources.cpu": "240m", "deploy.autoscale.min": 2, "capacity.knee": 310}

WRITTEN = """\
# our service
[deploy]
image = "localhost:5000/breast"  # the registry on this machine

[deploy.resources]
cpu = '100m'   # a guess
memory = "1Gi"
"""


def test_comments_and_order_stay() -> None:
    after = rewritten(WRITTEN, "", CHANGES)
    assert after.startswith(WRITTEN[: WRITTEN.index("cpu = ")])
    assert "# a guess" in after
    assert tomllib.loads(after) == {
        "deploy": {
            "image": "localhost:5000/breast",
            "resources": {"cpu": "240m", "memory": "1Gi"},
            "autoscale": {"min": 2},
        },
        "capacity": {"knee": 310},
    }
    shown = difference(WRITTEN, after, "wherry.toml")
    assert [line for line in shown if line[0] in "+-"][2:4] == [
        "-cpu = '100m'   # a guess",
        '+cpu = "240m"   # a guess',
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        WRITTEN,
        "deploy.resources.cpu = '1'\n",
        "[deploy]\nresources = { cpu = '1', memory = '1Gi' }\n",
        "[deploy.autoscale]\nmin = 5\n[serve]\nport = 1\n[deploy.resources]\ncpu = '1'\n",
    ],
)
def test_every_way_to_write_a_table(text: str) -> None:
    after = tomllib.loads(rewritten(text, "", CHANGES))
    assert after["deploy"]["resources"]["cpu"] == "240m"
    assert after["deploy"]["autoscale"]["min"] == 2
    assert after["capacity"] == {"knee": 310}
    assert rewritten(rewritten(text, "", CHANGES), "", CHANGES) == rewritten(text, "", CHANGES)


def test_in_pyproject_it_is_below_its_table(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n\n[tool.wherry.serve]\nport = 1\n'
    (tmp_path / "pyproject.toml").write_text(text)
    assert file_of(tmp_path) == (tmp_path / "pyproject.toml", "tool.wherry")
    after = tomllib.loads(rewritten(text, "tool.wherry", CHANGES))
    assert after["tool"]["wherry"]["capacity"] == {"knee": 310}
    assert after["project"] == {"name": "x"}
    assert file_of(tmp_path / "nowhere") == (tmp_path / "nowhere" / "wherry.toml", "")


def test_hyphens_that_are_there_are_kept() -> None:
    assert rewritten("[capacity]\nstart-seconds = 3\n", "", {"capacity.start_seconds": 5}) == (
        "[capacity]\nstart-seconds = 5\n"
    )


def test_a_key_where_a_table_should_be() -> None:
    with pytest.raises(SettingsRefused) as error:
        rewritten("deploy = 3\n", "", CHANGES)
    assert "deploy is no table" in str(error.value)


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "wherry.toml"
    path.write_text("before")
    path.chmod(0o640)
    replace(path, "after")
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["wherry.toml"]


keys = st.sampled_from(["min", "max", "cpu"])


@given(st.dictionaries(keys, st.integers(1, 99)), st.dictionaries(keys, st.integers(1, 99), min_size=1))
def test_what_is_written_is_what_is_read(before: dict[str, int], wanted: dict[str, int]) -> None:
    text = "[deploy.autoscale]\n" + "".join(f"{key} = {value} # c\n" for key, value in before.items())
    after = rewritten(text, "", {f"deploy.autoscale.{key}": value for key, value in wanted.items()})
    assert tomllib.loads(after)["deploy"]["autoscale"] == {**before, **wanted}
