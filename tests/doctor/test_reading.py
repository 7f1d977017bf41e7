"""How a project is read: within limits, as far as it goes, and never run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from doctor_listings import unpack, write

from wherry.doctor import documents, project
from wherry.doctor.commands import commands_of
from wherry.doctor.dockerfile import Dockerfile
from wherry.doctor.examine import examine
from wherry.doctor.project import Project
from wherry.errors import FileMissing


def rules_at(folder: Path) -> set[str]:
    return {f"{each.rule} {each.file}:{each.line}" for each in examine(folder).findings}


def test_broken_yaml_is_read_up_to_its_mistake_and_from_the_next_document_on(tmp_path: Path) -> None:
    text = (
        "apiVersion: v1\nkind: Service\nspec:\n  type: LoadBalancer\nbad: [1,\n---\n"
        "apiVersion: v1\nkind: Service\nmetadata: {name: two}\nspec:\n  type: LoadBalancer\n"
    )
    found = rules_at(write(tmp_path, {"k.yaml": text}))
    assert {"open-load-balancer k.yaml:4", "open-load-balancer k.yaml:11"} <= found
    assert any(each.startswith("broken-yaml k.yaml:") for each in found)


def test_the_lines_are_those_of_the_file() -> None:
    (first, second) = documents.documents_of("k", "a: 1\n---\n# c\nb:\n  - c: 2\n")
    assert first.root.at == {"a": 1}
    assert second.root.at == {"b": 4}
    assert second.root["b"][0].at == {"c": 5}
    assert second.root["b"][0]["c"].line == 5


def test_aliases_that_grow_without_end_cost_nothing(tmp_path: Path) -> None:
    laughs = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(15)
    )
    assert examine(write(tmp_path, {"k.yaml": laughs})).findings == ()
    round_and_round = "a: &a\n  b: *a\n"
    assert examine(write(tmp_path, {"k.yaml": round_and_round})).findings == ()


def test_deep_nesting_is_survived(tmp_path: Path) -> None:
    deep = {"k.yaml": "[" * 20_000, "a.py": "(" * 20_000, "n.ipynb": "[" * 100_000}
    examine(write(tmp_path, deep))


def test_a_template_is_no_broken_yaml(tmp_path: Path) -> None:
    assert examine(write(tmp_path, {"t.yaml": "{{- if .Values.x }}\na: 1\n{{- end }}\n"})).findings == ()


def test_python_that_does_not_parse_is_read_around_its_mistake(tmp_path: Path) -> None:
    text = "import pickle\nprint 'two'\nmodel = pickle.load(open('m'))\n"
    found = examine(write(tmp_path, {"a.py": text}))
    assert [f"{each.rule}:{each.line}" for each in found.findings] == ["unchecked-load:3"]
    assert "a.py, line 2: is no Python 3" in found.notes[0]


def test_a_notebook_s_lines_are_those_of_its_file(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["pickle.load(x)"], "metadata": {}},
        {
            "cell_type": "code",
            "source": ["%matplotlib inline\n", "import pickle\n", "!brew cask install x\n"],
            "metadata": {},
        },
        {"cell_type": "code", "source": "model = pickle.load(open('ä'))", "metadata": {}},
    ]
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": cells}, indent=1, ensure_ascii=False))
    lines = (tmp_path / "n.ipynb").read_text().splitlines()
    found = {each.rule: each.line for each in examine(tmp_path).findings}
    assert "model = pickle.load" in lines[found["unchecked-load"] - 1]
    assert "brew cask" in lines[found["brew-cask"] - 1]
    assert set(found) == {"unchecked-load", "brew-cask"}


def test_continued_lines_comments_and_heredocs_of_a_dockerfile() -> None:
    text = "FROM a:1 AS b\n# c\nRUN one \\\n  # within\n  && two\nRUN <<END\nthree\nEND\nCMD four\n"
    found = [(one.word, one.line, one.last) for one in Dockerfile("Dockerfile", text).instructions]
    assert found == [("FROM", 1, 1), ("RUN", 3, 5), ("RUN", 6, 8), ("CMD", 9, 9)]


def test_commands_are_taken_from_blocks_for_a_shell_and_from_inline_code(tmp_path: Path) -> None:
    text = "`docker run a` and `pip`\n```python\ndocker run b\n```\n```sh\n# no\n$ docker run \\\n  c\n```\n"
    found = [(one.line, one.last, one.text) for one in commands_of(Project(write(tmp_path, {"R.md": text})))]
    assert found == [(1, 1, "docker run a"), (7, 8, "docker run c")]


def test_what_git_an_environment_or_a_bundle_holds_is_left_out(tmp_path: Path) -> None:
    bad = "import pickle\npickle.load(open('m'))\n"
    hidden = {f"{where}/a.py": bad for where in (".git", ".venv", "node_modules", "__pycache__", "mine", "bundle")}
    write(tmp_path, {**hidden, "mine/pyvenv.cfg": "", "bundle/manifest.json": "{}", "seen/a.py": bad})
    assert rules_at(tmp_path) == {"unchecked-load seen/a.py:2"}


def test_links_pipes_and_files_that_are_not_ours_to_read(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"a.py": "import pickle\npickle.load(open('m'))\n"})
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a.py").symlink_to(outside / "a.py")
    (inside / "there").symlink_to(outside)
    os.mkfifo(inside / "pipe.py")
    assert examine(inside).findings == ()


def test_limits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "MAX_FILES", 3)
    monkeypatch.setattr(project, "MAX_TEXT", 100)
    write(tmp_path, {"a.py": "x = 1\n" * 100, "b.py": "", "c.txt": "\xff", "d.py": ""})
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00")
    notes = examine(tmp_path).notes
    assert any("more than 3 files" in note for note in notes)
    assert any("a.py is larger than 100 bytes" in note for note in notes)
    assert any("c.txt was not read: it is not UTF-8" in note for note in notes)


def test_nothing_of_the_project_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"open({str(mark)!r}, 'w')\n"
    write(tmp_path / "p", {"app.py": text, "sitecustomize.py": text, "conftest.py": text, "setup.py": text})

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return open, (str(mark), "w")

    import pickle

    (tmp_path / "p" / "model.pkl").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "p" / "k.yaml").write_text(f"!!python/object/apply:builtins.open [{str(mark)!r}, 'w']\n")
    examine(tmp_path / "p")
    assert not mark.exists()


def test_one_file_can_be_read_alone(tmp_path: Path) -> None:
    unpack(0, tmp_path)
    assert {each.file for each in examine(tmp_path / "app.py").findings} == {"app.py"}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        examine(tmp_path / "none")


def test_what_only_looks_like_a_mistake_is_none(tmp_path: Path) -> None:
    quiet = {
        "look.py": "import os\nprint('KMP_DUPLICATE_LIB_OK' in os.environ, os.environ['KMP_DUPLICATE_LIB_OK'])\n",
        "dockerfile.py": '"""\nFROM python\n"""\n',
        "tests/test_model.py": "import pickle\npickle.load(open('m'))\nurl = 'mysql://user:secret@db/name'\n",
    }
    assert examine(write(tmp_path, quiet)).findings == ()
    loud = {"set.py": "import os\nos.environ.setdefault('KMP_DUPLICATE_LIB_OK', 'TRUE')\n"}
    assert rules_at(write(tmp_path, loud)) == {"duplicate-openmp set.py:2"}


def test_the_steps_of_pipelines_are_commands(tmp_path: Path) -> None:
    pipelines = {
        "cloudbuild.yaml": "steps:\n- name: gcr.io/cloud-builders/docker\n  args: [push, gcr.io/project/app:1]\n",
        ".github/workflows/w.yml": "jobs:\n  b:\n    steps:\n    - uses: a/b@v4\n    - run: docker-compose up\n",
    }
    found = rules_at(write(tmp_path, pipelines))
    assert found == {"container-registry-gone cloudbuild.yaml:3", "docker-compose-v1 .github/workflows/w.yml:5"}
