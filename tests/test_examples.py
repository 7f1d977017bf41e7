"""The examples answer by name: their columns in any order give equal answers from the service."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir())


@pytest.mark.parametrize("name", EXAMPLES)
def test_shuffled_columns_get_equal_answers(
    name: str,
    breast_cancer_bundle: Path,
    linear_bundle: Path,
    tmp_path: Path,
    service: Callable[..., Any],
) -> None:
    bundle = {"breast-cancer": breast_cancer_bundle, "iris": linear_bundle}[name]
    if (settings := ROOT / "examples" / name / "wherry.toml").is_file():
        shutil.copy(settings, tmp_path / "wherry.toml")
    running = service(bundle, cwd=tmp_path)
    golden = json.loads((bundle / "golden.json").read_text())
    shuffle = random.Random(4).sample
    answers = set()
    for row in golden["rows"]:
        record = dict(zip(golden["columns"], row, strict=True))
        answer = running.ask("/predict", record).body
        answers.add(answer)
        for _ in range(3):
            shuffled = {key: record[key] for key in shuffle(list(record), len(record))}
            assert running.ask("/predict", shuffled).body == answer
    assert len(answers) > 1, "one answer for every row would prove nothing"
