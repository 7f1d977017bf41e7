"""Where an image's bytes come from, what has changed since the last build, and what would make it smaller."""

from __future__ import annotations

import tarfile

import msgspec

from wherry.contract.events import Tell, silent
from wherry.deploy import bases, caches
from wherry.deploy.bases import Base
from wherry.deploy.layers import Layer
from wherry.deploy.order import Order
from wherry.deploy.published import published
from wherry.deploy.uploads import key
from wherry.errors import BuildFailed

SETUID = 0o6000
WORLD = 0o002
STICKY = 0o1000
# Distributions that a model needs only as long as it is kept as scikit-learn's own object.
OF_SKLEARN = frozenset({"joblib", "pandas", "scikit-learn", "scipy", "skops"})
LARGE_BASE = 60_000_000


class Finding(msgspec.Struct, frozen=True):
    """Something in the base that a hardened image would not have, and where."""

    what: str
    paths: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True):
    """An image taken apart. base_size, and each layer's size, as they travel: compressed.

    changes: since the last build here; published: against what lies under the tag in the registry, if one was typed.
    """

    base: str
    base_size: int
    layers: tuple[Layer, ...]
    changes: tuple[str, ...]
    published: tuple[str, ...]
    advice: tuple[str, ...]
    findings: tuple[Finding, ...]


def explain(order: Order, base: Base, layers: tuple[Layer, ...], tell: Tell = silent) -> Explanation:
    """The explanation of an image of these layers; the base's layers are pulled to look into them.

    Raises RegistryFailed, DiskFull, CacheUnusable.
    """
    size = sum(blob.size for blob in base.layers)
    return Explanation(
        base=order.plan.base,
        base_size=size,
        layers=layers,
        changes=since(recalled(order), layers),
        published=against(order, base, layers, tell),
        advice=advice(size, layers),
        findings=findings(base, tell),
    )


def since(before: tuple[Layer, ...], now: tuple[Layer, ...]) -> tuple[str, ...]:
    """What has changed since the last build of this image on this machine."""
    if not before:
        return ("this is the first build of this image here",)
    return changes(before, now) or ("nothing has changed since the last build",)


def against(order: Order, base: Base, layers: tuple[Layer, ...], tell: Tell) -> tuple[str, ...]:
    """How the image would differ from the one that carries its tag now; nothing where no tag was typed."""
    if not order.reference.tag:
        return ()
    try:
        there = published(order.reference, order.platform, base, tell)
    except BuildFailed as error:
        return (f"{order.reference} cannot be compared: {error}",)
    if there is None:
        return (f"{order.reference} is not in its registry",)
    other = () if there.same_base else ("the base is another",)
    return (*other, *changes(there.layers, layers)) or (f"it is {order.reference} as it is there",)


def remember(order: Order, layers: tuple[Layer, ...]) -> None:
    """Keep what this build was made of, for the next one of the same image to be compared with."""
    caches.remember("builds", key(order.reference.host, order.reference.path), layers)


def recalled(order: Order) -> tuple[Layer, ...]:
    """The layers of the last build under this image's name; none when there was none here."""
    found: tuple[Layer, ...] | None = caches.recall(
        "builds", key(order.reference.host, order.reference.path), tuple[Layer, ...]
    )
    return found or ()


def changes(before: tuple[Layer, ...], now: tuple[Layer, ...]) -> tuple[str, ...]:
    """A sentence for each layer that differs between two builds."""
    held_before, made_now = {layer.name: layer for layer in before}, {layer.name: layer for layer in now}
    found = [f"{name}: is gone" for name in held_before if name not in made_now]
    found += [
        f"{layer.name}: is new (+{layer.size:,} bytes compressed)" for layer in now if layer.name not in held_before
    ]
    for new in now:
        old = held_before.get(new.name, new)
        if old.digest == new.digest:
            continue
        held, made = {part.name: part for part in old.parts}, {part.name: part for part in new.parts}
        told = [f"{name} {held[name].version} is gone" for name in held if name not in made]
        told += [f"{name} {made[name].version} is new" for name in made if name not in held]
        for name in held.keys() & made.keys():
            was, is_now = held[name], made[name]
            if was.version != is_now.version:
                told.append(f"{name} {was.version} is {is_now.version}")
            elif was.size != is_now.size:
                told.append(f"{name} has {is_now.size - was.size:+,} bytes")
        what = "; ".join(sorted(told)) or "its content, or how it is packed"
        found.append(f"{new.name}: {what} ({new.size - old.size:+,} bytes compressed)")
    return tuple(found)


def advice(base_size: int, layers: tuple[Layer, ...]) -> tuple[str, ...]:
    """What would make the image smaller, the largest gain first."""
    parts = [part for layer in layers for part in layer.parts]
    ideas: list[tuple[int, str]] = []
    sklearn = sum(part.size for part in parts if part.name in OF_SKLEARN)
    if any(part.name == "scikit-learn" for part in parts):
        text = "the model is kept as scikit-learn's object; as ONNX or linear arrays it would need none of it"
        ideas.append((sklearn, f"{text} (wherry inspect says why it could not be converted)"))
    store = sum(layer.unpacked for layer in layers if layer.name == "store")
    if store:
        ideas.append((store, "predictions are stored; without url under [store] nothing of the store is put in"))
    if base_size > LARGE_BASE:
        ideas.append((base_size - LARGE_BASE, "the base is large; --base names another with the same Python"))
    return tuple(f"{gain / 1e6:.0f} MB: {text}" for gain, text in sorted(ideas, reverse=True))


def findings(base: Base, tell: Tell = silent) -> tuple[Finding, ...]:
    """What a hardened image would not have, as far as the base brings it."""
    setuid: list[str] = []
    writable: list[str] = []
    pip: list[str] = []
    for blob in base.layers:
        bases.pull(base, blob, tell)
        with tarfile.open(caches.blob(blob.digest), mode="r:*") as archive:
            for info in archive:
                path = "/" + info.name.removeprefix("./").strip("/")
                if info.isreg() and info.mode & SETUID:
                    setuid.append(path)
                if (info.isreg() or info.isdir()) and info.mode & WORLD and not info.mode & STICKY:
                    writable.append(path)
                if path.endswith(("/pip/__main__.py", "/pip/__init__.py")):
                    pip.append(path.rpartition("/")[0])
    every = (
        ("files that run as another user (setuid, setgid)", setuid),
        ("what anybody may write to", writable),
        ("pip", pip),
    )
    return tuple(Finding(what, tuple(sorted(set(paths)))) for what, paths in every if paths)
