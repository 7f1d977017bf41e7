"""The models of one service: which can be held together, which fit one after the other, and what they make. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from wherry.contract.manifest import Conversion, Golden, Manifest, Measured, Origin
from wherry.contract.project import Chain
from wherry.contract.signature import Column, OutputSpec, Signature, cell_of
from wherry.contract.wire import Cell, Outputs, Row
from wherry.errors import BundlesClash, ChainRefused

FLAVOR = "chain"
DECLARED = "[serve.chain]"  # where a chain comes from, as a folder is where a bundle does
MOST_MODELS = 15  # in one service: what each counts finds room on its board
# What an output may be for a column of this type.
TAKEN = {"number": ("number", "integer"), "integer": ("integer",), "boolean": ("boolean",), "string": ("string",)}


class Join(msgspec.Struct, frozen=True):
    """How the answers of one step become rows of the next.

    order: of several outputs a row, the place of each column's. shares: whether the columns are the classes' chances.
    """

    columns: tuple[Column, ...]
    order: tuple[int, ...] = ()
    shares: bool = False

    def rows(self, outputs: Outputs) -> tuple[list[Row], list[int]]:
        """The rows, and the places of those that the next step does not take."""
        given = outputs.probabilities or () if self.shares else outputs.predictions
        if self.order and all(column.type == "number" and not column.categories for column in self.columns):
            return [tuple([float(answer[each]) for each in self.order]) for answer in given], []
        made, bad = [], []
        for place, answer in enumerate(given):
            values = [answer[each] for each in self.order] if self.order else [answer]
            cells = [cell_of(column, value, place) for column, value in zip(self.columns, values, strict=True)]
            made.append(tuple(cell for cell, _ in cells))
            if any(problem is not None for _, problem in cells):
                bad.append(place)
        return made, bad


def distinct(manifests: Sequence[Manifest], folders: Sequence[str]) -> None:
    """Raises BundlesClash where two of one service's models are one name and version, or where they are too many."""
    if len(manifests) > MOST_MODELS:
        raise BundlesClash(f"a service holds {MOST_MODELS} models at most, and these are {len(manifests)}")
    held: dict[tuple[str, str], str] = {}
    for manifest, folder in zip(manifests, folders, strict=True):
        key = (manifest.name, manifest.version)
        if held.get(key) == folder:
            hint = "once is enough: on the command line, or in [serve] bundles of wherry.toml"
            raise BundlesClash(f"{folder} is named twice", hint)
        if key in held:
            hint = "wherry pack MODEL --name NAME --version VERSION"
            if folder == DECLARED:
                hint = f"name the chain otherwise: {DECLARED} name"
            raise BundlesClash(f"{held[key]} and {folder} both hold {manifest.name} {manifest.version}", hint)
        held[key] = folder


def steps_of(chain: Chain, manifests: Sequence[Manifest]) -> list[int]:
    """Which of the models each step is: by NAME, the first of it, or NAME:VERSION. Raises ChainRefused."""
    places: dict[str, int] = {}
    for place, manifest in enumerate(manifests):
        places.setdefault(manifest.name, place)
        places[f"{manifest.name}:{manifest.version}"] = place
    for step in chain.steps:
        if step not in places:
            held = ", ".join(f"{each.name}:{each.version}" for each in manifests)
            raise ChainRefused(chain.name, f"its step {step} is no model of this service", f"its models are {held}")
    return [places[step] for step in chain.steps]


def joins(chain: Chain, steps: Sequence[Manifest]) -> list[Join]:
    """How each step's answers go into the next. Raises ChainRefused where they do not."""
    pairs = zip(steps, steps[1:], chain.steps, chain.steps[1:], strict=False)
    return [join(chain, one.signature.output, other.signature, names) for one, other, *names in pairs]


def join(chain: Chain, output: OutputSpec, following: Signature, names: list[str]) -> Join:
    columns, width = following.columns, len(following.columns)
    if output.width == width and (width > 1 or fits(output, columns[0])):
        found = Join(columns)
        if width > 1:
            called = list(output.names)
            by_name = sorted(called) == sorted(following.names)
            order = [called.index(name) if by_name else place for place, name in enumerate(following.names)]
            found = Join(columns, tuple(order))
    elif output.probabilities and len(output.classes) == width > 1:
        called = list(map(str, output.classes))
        by_name = sorted(called) == sorted(following.names)
        order = [called.index(name) if by_name else place for place, name in enumerate(following.names)]
        found = Join(columns, tuple(order), shares=True)
        output = OutputSpec("number", "number")
    else:
        found = None
    if found is None or not all(fits(output, column) for column in columns):
        told = f"{output.width} {output.type}{'s' if output.width > 1 else ''} a row"
        wanted = ", ".join(f"{column.name} ({column.type})" for column in columns[:10])
        reason = f"{names[0]} answers {told}, and {names[1]} takes {wanted}"
        strange = [(each, one) for each in columns for one in strangers(output, each)]
        if strange and output.width == width and all(output.type in TAKEN.get(each.type, ()) for each in columns):
            column, value = strange[0]
            taken = ", ".join(map(repr, (column.categories or ())[:10]))
            reason = f"{names[0]} may answer {value!r}, and {names[1]} takes {column.name} as one of {taken}"
        raise ChainRefused(chain.name, reason, "let each step answer what the next one takes")
    return found


def fits(output: OutputSpec, column: Column) -> bool:
    """Whether each answer is a value of the column."""
    return output.type in TAKEN.get(column.type, ()) and not strangers(output, column)


def strangers(output: OutputSpec, column: Column) -> list[Cell]:
    """The answers that are no value of a column which takes these and no others."""
    strict = column.categories and not column.unknown_ok
    return [each for each in output.classes if each not in column.categories] if strict and column.categories else []


def chained(chain: Chain, steps: Sequence[Manifest]) -> Manifest:
    """The manifest of the model that they make: it takes what the first takes and answers what the last answers."""
    first, last = steps[0], steps[-1]
    digest = hashlib.sha256("\n".join(each.digest for each in steps).encode()).hexdigest()
    return Manifest(
        format=first.format,
        name=chain.name,
        version=chain.version,
        digest=digest,
        flavor=FLAVOR,
        model="",
        signature=msgspec.structs.replace(first.signature, output=last.signature.output, target=last.signature.target),
        golden=Golden("", 0),
        baseline="",
        requirements=first.requirements,
        files={},
        origin=Origin(" > ".join(chain.steps)),
        conversion=Conversion(FLAVOR),
        measured=Measured(
            sum(each.measured.load_seconds for each in steps), sum(each.measured.peak_bytes for each in steps)
        ),
    )
