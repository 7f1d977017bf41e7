"""What a manifest says, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from wherry.cli import table
from wherry.contract.manifest import Conversion, Measured, Metric, Requirements
from wherry.contract.signature import Column, OutputSpec, Signature


def signature(value: Signature, *, width: int = 0) -> Iterator[str]:
    """The columns as a table, then what comes out."""
    rows = [(c.name, c.type, "may be missing" if c.nullable else "", seen(c)) for c in value.columns]
    if any(row[2] for row in rows):
        yield from table.lines(("column", "type", "null", "seen"), rows, width=width)
    else:
        yield from table.lines(("column", "type", "seen"), [(a, b, d) for a, b, _, d in rows], width=width)
    yield f"-> {target(value)}{output(value.output)}"
    if value.unused:
        yield f"   not used by the model: {', '.join(value.unused)}"
    if not value.named:
        yield "   the model knows no column names: send lists in this order, or records with these names"


def seen(column: Column) -> str:
    """The values of the sample: a range, or the categories."""
    if column.prepare is not None:
        wanted = column.prepare
        fit = f"the middle of it at {wanted.resize}" if wanted.resize else "all of it stretched"
        return f"{', '.join(wanted.formats)}; made {wanted.width} x {wanted.height}, {fit}"
    if column.categories:
        shown = ", ".join(str(category) for category in column.categories[:6])
        return shown + (f", ... {len(column.categories)} in all" if len(column.categories) > 6 else "")
    if column.low is not None and column.high is not None:
        return f"{table.number(column.low)} to {table.number(column.high)}"
    return "" if column.example is None else f"such as {column.example}"


def assumed(value: Signature) -> str:
    """The columns of a model that came without a sample: only those whose categories it holds have a type to state."""
    shown = value.columns[:6]
    known = [f"{column.name} ({column.type})" for column in shown if column.categories]
    unknown = [column.name for column in shown if not column.categories]
    if unknown:
        known.append(f"{', '.join(unknown)} (types unknown: taken as numbers)")
    return ", ".join(known) + (f" and {len(value.columns) - 6} more" if len(value.columns) > 6 else "")


def target(value: Signature) -> str:
    return f"{value.target}: " if value.target else ""


def output(spec: OutputSpec) -> str:
    """What a prediction is, in words."""
    text = {"class": "a class", "number": "a number", "cluster": "a cluster"}[spec.kind]
    if spec.classes:
        shown = ", ".join(str(one) for one in spec.classes[:12])
        text += f", one of {shown}" + (f", ... {len(spec.classes)} in all" if len(spec.classes) > 12 else "")
    if spec.width > 1:
        text += f", {spec.width} of them a row" + (f": {', '.join(spec.names[:12])}" if spec.names else "")
    text += ", with probabilities" if spec.probabilities else ""
    return text + (f", the likeliest {spec.top} named" if spec.top > 1 else "")


def metrics(found: tuple[Metric, ...]) -> Iterator[str]:
    """Figures of quality beside what a model that ignores its columns would reach."""
    rows = [(m.name, m.value, m.baseline, m.rows, m.on) for m in found]
    yield from table.lines(("metric", "value", "baseline", "rows", "on"), rows, right=("value", "baseline", "rows"))


def form(record: Conversion) -> Iterator[str]:
    """In which form the model is stored, how that was proven, and why the other forms were refused."""
    proof = ""
    if record.proven_rows:
        proof = f", equal on {table.count(record.proven_rows, 'row')}"
        if record.largest_difference and record.spread:
            proof += f" within {record.largest_difference / record.spread:.1g} of a standard deviation"
        elif record.largest_difference:
            proof += f" within {record.largest_difference:.1g}"
        if record.ties_left_out:
            proof += f", {table.count(record.ties_left_out, 'tie')} left out"
    yield f"{record.form}{proof}"
    for name, reason in record.refused.items():
        yield f"not {name}: {reason}"


def measured(found: Measured) -> str:
    """What loading takes."""
    if not found.peak_bytes:
        return ""
    return f"loads in {table.duration(found.load_seconds)}, peak memory {table.size(found.peak_bytes)}"


def needs(found: Requirements) -> str:
    """What loading the model again takes."""
    return ", ".join([f"Python {found.python}", *(f"{name} {version}" for name, version in found.packages.items())])
