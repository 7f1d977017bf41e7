"""What `wherry stress` sends, and where: an address that may be loaded, bodies in rotation, answers they must have."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from wherry.cli import payload
from wherry.cli.ask import Service, bearer
from wherry.cli.console import Console
from wherry.cli.doors import door, named
from wherry.contract.names import (
    BUNDLE_DIR,
    EXAMPLE_FILE,
    HEADER_MODEL_DIGEST,
    HEADER_NO_STORE,
    MANIFEST_FILE,
    NATIVE_MEDIA,
)
from wherry.contract.signature import Signature
from wherry.contract.wire import INFO, PREDICT
from wherry.errors import CallRefused, FileMissing, ServiceUnreachable, TableEmpty, UsageRefused

if TYPE_CHECKING:
    from wherry.cli.stress_cluster import Deployed
    from wherry.stress.plan import Ask, Target

MOST_BODIES = 10_000


class Asking(NamedTuple):
    """What goes over the wire, and how its answers are judged."""

    target: Target
    asks: tuple[Ask, ...]
    digest: str = ""
    rtol: float = 1e-6
    atol: float = 1e-9


def reachable(console: Console, url: str, allow_remote: bool) -> Target:
    """Where `url` leads, once the user has allowed that it is loaded. Raises ServiceUnreachable, NotConfirmed."""
    from wherry.stress.plan import target_of

    target = target_of(url)
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ServiceUnreachable(url, "its host has no address", "check the spelling of the host") from error
    targets = [msgspec.structs.replace(target, address=str(each[4][0])) for each in found]
    if not all(each.local for each in targets) and not allow_remote:
        console.confirm(f"Put load on {target.host}, which is not this machine?", flag="--allow-remote")
    return next((each for each in targets if accepts(each)), targets[0])


def led(target: Target, model: str | None, token_file: Path | None) -> tuple[Target, str, str]:
    """Where load on the model goes, the path that says what it is, and its name; empty where none is named.

    Raises what `door` raises.
    """
    if not model and not named(target.path):
        return target, INFO, ""
    with Service(target.url, token_file) as service:
        path, about, model = door(service, model)
    return msgspec.structs.replace(target, path=path), about, model


def accepts(target: Target) -> bool:
    """Whether somebody listens; `localhost` has two addresses, and services often one of them."""
    try:
        socket.create_connection((target.address, target.port), timeout=5).close()
    except OSError:
        return False
    return True


def asking(
    console: Console,
    target: Target,
    about: str,
    *,
    model: str,
    data: Path | None,
    bundle: Path | None,
    token_file: Path | None,
    encoding: str,
    fresh: bool,
    no_store: bool,
) -> Asking:
    """Rows of `data`, else the golden rows of the bundle with their answers, else its example, else a plain GET.

    Raises UsageRefused for a model whose rows are not here, and which a plain GET would not ask.
    """
    from wherry.model.bundle import read_manifest
    from wherry.stress.plan import asks_of

    headers = bearer(token_file)
    folder = bundle or Path(BUNDLE_DIR)
    at_root = target.path.partition("?")[0] in ("", "/")
    predict = at_predict(target)
    if data is not None:
        bodies = bodies_of(data, encoding, signature_in(folder))
        if len(bodies) > MOST_BODIES:
            console.note(f"{data} has {len(bodies):,} rows; the first {MOST_BODIES:,} are sent in rotation")
        fits(predict, bodies[0], token_file)
        return Asking(predict, asks_of(predict, bodies[:MOST_BODIES], headers, fresh=fresh))
    there = bundle is not None or (folder / MANIFEST_FILE).is_file()
    for_model = at_root or predict.path.partition("?")[0].endswith(PREDICT)
    if there and (bundle is not None or for_model):
        served = digest_served(target, about, token_file)
        own = not model or served == read_manifest(folder).digest
        if bundle is not None or (served and own):
            return from_bundle(console, predict, folder, served, token_file, fresh=fresh, no_store=no_store)
    if model:
        raise UsageRefused(f"there are no rows to ask {model} about", hint="--data FILE, or --bundle with its folder")
    return Asking(target, asks_of(target, [None], headers, fresh=fresh))


def from_bodies(target: Target, bodies: Sequence[bytes], token_file: Path | None, *, fresh: bool) -> Asking:
    """Requests that the load brings along, in their order."""
    from wherry.stress.plan import asks_of

    predict = at_predict(target)
    return Asking(predict, asks_of(predict, bodies, bearer(token_file), fresh=fresh))


def at_predict(target: Target) -> Target:
    """Where predictions are asked, for an address without a path."""
    at_root = target.path.partition("?")[0] in ("", "/")
    return msgspec.structs.replace(target, path=PREDICT + target.path[1:]) if at_root else target


def from_release(
    target: Target, deployed: Deployed, token_file: Path | None, *, fresh: bool, no_store: bool
) -> Asking | None:
    """The golden rows that the deployment's release keeps, with their answers; None where it keeps none."""
    from wherry.cli.stress_cluster import golden
    from wherry.stress.plan import golden_asks

    rows = golden(deployed.probe) if deployed.probe is not None else None
    if rows is None or deployed.probe is None:
        return None
    predict = at_predict(target)
    asks = golden_asks(predict, rows, golden_headers(token_file, no_store), fresh=fresh)
    return Asking(predict, asks, deployed.digest, deployed.probe.rtol, deployed.probe.atol)


def golden_headers(token_file: Path | None, no_store: bool) -> dict[str, str]:
    return {**bearer(token_file), "Accept": NATIVE_MEDIA, **({HEADER_NO_STORE: "1"} if no_store else {})}


def fits(target: Target, body: bytes, token_file: Path | None) -> None:
    """Asks once before thousands are sent. Raises CallRefused, naming each field, where the service refuses the row."""
    with Service(target.url, token_file) as service:
        try:
            service.post(service.path, body)
        except CallRefused as error:
            if error.status < 500:  # what the service cannot do now is for the load to show
                raise


def from_bundle(
    console: Console,
    target: Target,
    folder: Path,
    served: str,
    token_file: Path | None,
    *,
    fresh: bool,
    no_store: bool,
) -> Asking:
    """The golden rows of the bundle, each with its answer; its example where it has none."""
    from wherry.model.bundle import golden, verify
    from wherry.stress.plan import asks_of, golden_asks

    manifest = verify(folder)
    digest = manifest.digest if served else ""
    if served and served != manifest.digest:
        console.note(
            f"{target.url} serves another model than {folder}: every answer will count as a wrong version",
            hint="name the bundle that is served with --bundle, or rows to send with --data",
            warn=True,
        )
    rows = golden(folder, manifest)
    if not rows.rows:
        body = (folder / EXAMPLE_FILE).read_bytes()
        return Asking(target, asks_of(target, [body], bearer(token_file), fresh=fresh), digest)
    asks = golden_asks(target, rows, golden_headers(token_file, no_store), fresh=fresh)
    return Asking(target, asks, digest, manifest.golden.rtol, manifest.golden.atol)


def digest_served(target: Target, about: str, token_file: Path | None) -> str:
    """The digest of the model that the path `about` is of, "" when it is no service of wherry's."""
    root = msgspec.structs.replace(target, path="").url
    with Service(root, token_file) as service:
        return str(service.get(about).headers.get(HEADER_MODEL_DIGEST, ""))


def signature_in(folder: Path) -> Signature | None:
    """The signature of the bundle in this folder, by which the cells of a table are read."""
    from wherry.model.bundle import read_manifest

    return read_manifest(folder).signature if (folder / MANIFEST_FILE).is_file() else None


def bodies_of(data: Path, encoding: str, signature: Signature | None) -> Sequence[bytes]:
    """A body for each row of a file: JSON as it stands, each record of a list; CSV, Parquet and JSON lines by row.

    Raises FileMissing, TableEmpty and what reading a table raises.
    """
    if str(data) != "-" and not data.is_file():
        raise FileMissing(str(data), "data file")
    content = payload.content(data)
    value = payload.as_json(content, str(data))
    if isinstance(value, list) and all(isinstance(each, (dict, list)) for each in value):
        bodies = [encode(each if isinstance(each, dict) else [each]) for each in value]
    elif value is not None:
        bodies = [content]
    else:
        path, folder = payload.table_file(content, data)
        try:
            rows = payload.read_table(path, encoding, signature)
        finally:
            if folder is not None:
                folder.cleanup()
        bodies = [encode(dict(zip(rows.columns, row, strict=True))) for row in rows.cells]
    if not bodies:
        raise TableEmpty(str(data), "it holds no rows to send", "give rows with the model's columns")
    return bodies


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
