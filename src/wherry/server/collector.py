"""Where spans and metrics go, and the threads that send them: off every request's way.

Said by the standard OTEL_ variables, and where they name no endpoint by [serve] collector. Without one nothing of this
is there: no import, no thread, and no step on a request's way.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Generic, Literal, Protocol, TypeVar

from wherry.contract.events import Note, Tell
from wherry.contract.manifest import Manifest
from wherry.errors import ExtraMissing

PATIENCE = 3.0  # seconds for the last ones at the end
Signal = Literal["traces", "metrics"]


class Collector:
    """What is sent to whom, as `environ` and the settings have it. at: the admin port, which tells services apart."""

    def __init__(
        self, manifest: Manifest, named: str = "", at: str = "", environ: Mapping[str, str] = os.environ
    ) -> None:
        self.environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": named, **environ} if named else environ
        self.manifest, self.at = manifest, at

    def said(self, signal: Signal, name: str) -> str:
        """A variable as it holds for `signal`: its own, or that of all signals."""
        prefix = "OTEL_EXPORTER_OTLP"
        return self.environ.get(f"{prefix}_{signal.upper()}_{name}") or self.environ.get(f"{prefix}_{name}", "")

    def wants(self, signal: Signal) -> bool:
        """Whether it is to be sent: an endpoint is named, or the exporter, and nothing switches it off."""
        exporter = self.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "")
        if self.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
            return False
        return exporter == "otlp" or bool(self.said(signal, "ENDPOINT"))

    def endpoint(self, signal: Signal) -> str | None:
        """Its address; None for the SDK's own."""
        named = self.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
        every = self.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        return named or (f"{every.rstrip('/')}/v1/{signal}" if every else None)

    def resource(self) -> dict[str, str]:
        """What everything that is sent is said to come from, unless the variables say it."""
        known = self.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        own = {
            "service.name": self.manifest.name,
            "service.version": self.manifest.version,
            "service.instance.id": f"{socket.gethostname()}:{self.at.rpartition(':')[2] or os.getpid()}",
        }
        if self.environ.get("OTEL_SERVICE_NAME"):
            del own["service.name"]
        return {key: value for key, value in own.items() if f"{key}=" not in known}

    def sdk(self, signal: Signal, tell: Tell) -> ModuleType | None:
        """What sends it, where it is asked for. What cannot be had is told: the service goes on."""
        if not self.wants(signal):
            return None
        protocol = self.said(signal, "PROTOCOL") or "http/protobuf"
        if protocol != "http/protobuf":
            tell(Note(f"no {signal} are sent: {protocol} is not spoken here", warn=True, hint="http/protobuf is"))
            return None
        try:
            from wherry.server import otlp
        except ImportError:
            missing = ExtraMissing("opentelemetry-sdk", "otel", f"sending {signal}")
            tell(Note(f"no {signal} are sent: {missing}", warn=True, hint=missing.hint))
            return None
        return otlp


class Closing(Protocol):
    def close(self) -> None: ...


Exporter = TypeVar("Exporter", bound=Closing)


class Sending(Generic[Exporter]):
    """A thread that opens an exporter, and gives it what there is: every so often, and at the end."""

    signal: Signal

    def __init__(self, open_exporter: Callable[[], Exporter], every: float, tell: Tell) -> None:
        self.open_exporter, self.every, self.tell = open_exporter, every, tell
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, name=f"wherry-{self.signal}", daemon=True)
        self.thread.start()

    def give(self, exporter: Exporter) -> None:
        """In the thread: hand over what there is."""
        raise NotImplementedError

    def unable(self) -> None:
        """In the thread: there will be no exporter."""

    def run(self) -> None:
        try:
            exporter = self.open_exporter()
        except Exception as error:  # noqa: BLE001  # a variable that the SDK cannot read: requests go on without it
            self.unable()
            self.tell(Note(f"no {self.signal} are sent: {error}", warn=True))
            return
        while True:
            ended = self.ending.wait(self.every)
            self.give(exporter)
            if ended:
                exporter.close()
                return


def finish(*all_sending: Sending[Any] | None) -> None:
    """Send what is left, for as long as PATIENCE; a collector that does not answer keeps nobody longer."""
    there = [each for each in all_sending if each is not None]
    for each in there:
        each.ending.set()
    last = time.monotonic() + PATIENCE
    for each in there:
        each.thread.join(max(0.0, last - time.monotonic()))
