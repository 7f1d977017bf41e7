"""What a training script leaves to chance, or leaves unsaid."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from wherry.doctor.project import Project
from wherry.doctor.rule import Place, rule
from wherry.doctor.source import Source, constant, keyword

CHANCY = re.compile(
    r"\.(make_(classification|regression|blobs|moons|circles)|train_test_split|ShuffleSplit|StratifiedShuffleSplit)$"
)
BASELINE = re.compile(
    r"(?i)dummy(classifier|regressor)|value_counts|bincount|baseline|majority|largest|most_frequent|zeror"
)


@rule(
    "misleading",
    consequence="every run trains another model, so no figure of it can be told again",
    fix="name a number: random_state=0",
    source="https://scikit-learn.org/stable/common_pitfalls.html#controlling-randomness",
)
def no_random_state(project: Project) -> Iterator[Place]:
    """data are made or split by chance, without random_state"""
    for source in project.sources:
        for call, name in source.calls() if not source.is_test else ():
            if not CHANCY.search(name) or not name.startswith("sklearn.") or keyword(call, "random_state") is not None:
                continue
            spread = any(word.arg is None for word in call.keywords)  # **settings may hold it
            if not spread and constant(keyword(call, "shuffle")) is not False:
                yield Place(source.path, source.at(call), source.text_of(call))


@rule(
    "misleading",
    consequence="0.92 is good beside 0.25 for the largest class, and bad beside 0.95",
    fix="print what sklearn.dummy.DummyClassifier reaches beside it; `wherry pack` does so by itself",
    source="https://scikit-learn.org/stable/modules/model_evaluation.html#dummy-estimators",
)
def accuracy_without_baseline(project: Project) -> Iterator[Place]:
    """an accuracy is printed without a baseline"""
    for source in project.sources:
        if (
            source.is_test
            or BASELINE.search(source.text)
            or not any(name in ("print", "logging.info") for _, name in source.calls())
        ):
            continue
        if "sklearn" not in source.text:
            continue
        found = next(accuracies(source), None)
        if found is not None:
            yield Place(source.path, source.at(found), source.text_of(found))


def accuracies(source: Source) -> Iterator[ast.AST]:
    """accuracy_score(...), model.score(X, y), (a == b).mean()"""
    for call, name in source.calls():
        last = name.rpartition(".")[2]
        of_means = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Compare)
        if last == "accuracy_score" or (last == "score" and len(call.args) == 2) or (last == "mean" and of_means):
            yield call
