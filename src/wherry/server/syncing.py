"""Puts what was written onto the disk soon after, off the path of the requests."""

from __future__ import annotations

import os
import threading

GATHER_SECONDS = 0.02  # commits within this time share one fsync; with the fsync itself they stay below 50 ms


class Syncer:
    """Calls fsync for descriptors that were noted, within 50 ms on a disk that takes no longer than 30 for it."""

    def __init__(self) -> None:
        self.failed: set[int] = set()  # a failed fsync is never believed to succeed later on the same descriptor
        self._noted: set[int] = set()
        self._retired: list[int] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wherry-fsync", daemon=True)
        self._thread.start()

    def note(self, descriptor: int) -> None:
        """Have `descriptor` synced soon. Nearly free when it is noted already."""
        if descriptor not in self._noted:
            with self._lock:
                self._noted.add(descriptor)
            self._wake.set()

    def retire(self, descriptor: int) -> None:
        """Have `descriptor` synced a last time, then closed."""
        with self._lock:
            self._noted.add(descriptor)
            self._retired.append(descriptor)
        self._wake.set()

    def close(self) -> None:
        """Sync all that was noted, and end."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._stop.wait(GATHER_SECONDS)
            self._wake.clear()
            self._sync()
        self._sync()

    def _sync(self) -> None:
        with self._lock:
            noted, self._noted = self._noted, set()
            retired, self._retired = self._retired, []
        for descriptor in noted - self.failed:
            try:
                os.fsync(descriptor)
            except OSError:
                self.failed.add(descriptor)
        for descriptor in retired:
            os.close(descriptor)
            self.failed.discard(descriptor)
