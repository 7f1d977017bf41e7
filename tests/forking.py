"""Starts Python programs as `python -m` does, save that the libraries are there already: forked from a process that
only imported them. Each has its own process, folder, environment and standard streams, and ends with its own code.

WHERRY_TEST_FORK=0 starts an interpreter for each, as users do; so the clean Debian of .ci/run has it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

# What the verbs import, which takes a fresh interpreter up to three seconds; nothing of it starts a thread by itself.
LIBRARIES = (
    "wherry.cli.main",
    "wherry.contract.manifest",
    "wherry.model.pack",
    "sklearn.pipeline",
    "sklearn.linear_model",
    "sklearn.ensemble",
    "skl2onnx",
    "pandas",
)
# The interpreter and the libraries read these once, when they begin; and whether a store's password shows from outside
# is looked up in what the kernel keeps of how a process began.
READ_EARLY = ("PYTHON", "LC_", "LANG", "LD_", "OMP_", "OPENBLAS_", "MKL_", "FAKETIME", "WHERRY_STORE_URL")
TOLD = "TESTS_FORK"  # in the environment of a shell: whom its `wherry` asks


class Forking:
    """The process that others are forked from; begun when the first is asked for."""

    def __init__(self) -> None:
        self.environ = dict(os.environ)
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def can(self, environ: Mapping[str, str]) -> bool:
        """Whether a process with this environment may be forked: nothing differs in it that is read early."""
        wanted = os.environ.get("WHERRY_TEST_FORK") != "0" and self.process.poll() is None
        return wanted and read_early(self.environ) == read_early(environ)

    def start(
        self,
        module: str,
        words: Sequence[str],
        cwd: Path,
        environ: Mapping[str, str],
        streams: Sequence[Any],
        *,
        fresh: bool = False,
    ) -> Forked | subprocess.Popen[bytes]:
        """`python -m MODULE WORDS`, leading a session. streams: standard input, output and error, as open files.

        fresh: an interpreter of its own, that has loaded nothing.
        """
        if fresh or not self.can(environ):
            stdin, stdout, stderr = streams
            command = [sys.executable, "-m", module, *words]
            return subprocess.Popen(
                command, cwd=cwd, env=environ, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
            )
        fds = [stream.fileno() for stream in streams]
        return forked(self.ours, fds, module=module, words=list(words), cwd=str(cwd), environ=dict(environ))

    def run(
        self, module: str, words: Sequence[str], cwd: Path, environ: Mapping[str, str], stdin: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """What subprocess.run gives of `python -m MODULE WORDS`, text captured."""
        with memfile(stdin.encode()) as given, memfile() as out, memfile() as err:
            process = self.start(module, words, cwd, environ, (given, out, err))
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            printed, said = (io.TextIOWrapper(file, newline=None) for file in (out, err))
            for text in (printed, said):
                text.seek(0)
            return subprocess.CompletedProcess(process.args, code, printed.read(), said.read())

    def shell(self, folder: Path) -> dict[str, str]:
        """What the environment of a shell needs so that a `wherry` typed there is forked too; the shell has to be
        passed `ours`. The program goes into `folder`."""
        if not self.can(self.environ):
            return {}
        program, bin = folder / "wherry", Path(sys.executable).parent
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{__file__}" "$@"\n')
        program.chmod(0o755)
        told = {"socket": self.ours.fileno(), "early": read_early(self.environ), "path": str(bin)}
        return {"PATH": f"{folder}{os.pathsep}{bin}{os.pathsep}{os.environ['PATH']}", TOLD: json.dumps(told)}

    def end(self) -> None:
        self.ours.close()
        self.process.wait(30)


class Forked:
    """A process that was forked, with what tests use of subprocess.Popen."""

    def __init__(self, args: Sequence[str], told: int) -> None:
        self.args = list(args)
        self.returncode: int | None = None
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._told.read(8))

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for the signal that ended it. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            with self._told:
                self.returncode = int(self._told.read(8) or b"-9")
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def forked(ours: socket.socket, streams: Sequence[int], **asked: Any) -> Forked:
    """What was asked for, forked by the process at the other end of `ours`."""
    told, theirs = os.pipe()
    try:
        with memfile(json.dumps(asked).encode()) as wish:
            socket.send_fds(ours, [b"start"], [wish.fileno(), *streams, theirs])
    finally:
        os.close(theirs)
    return Forked([asked["module"], *asked["words"]], told)


def read_early(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(READ_EARLY)}


def typed(words: list[str]) -> NoReturn:
    """The `wherry` of a shell: has the process forked that it stands for, and passes signals and exit code on."""
    environ = dict(os.environ)
    told = json.loads(environ.pop(TOLD))
    try:
        ours = socket.socket(fileno=told["socket"])
    except OSError:  # whoever began this passes nothing on
        ours = None
    if ours is None or read_early(environ) != told["early"]:
        os.execve(f"{told['path']}/wherry", ["wherry", *words], environ)
    process = forked(
        ours, [0, 1, 2], module="wherry", words=words, cwd=str(Path.cwd()), environ=environ, path=told["path"]
    )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: process.send_signal(number))
    code = process.wait()
    os._exit(code if code >= 0 else 128 - code)


def memfile(content: bytes = b"") -> io.BufferedRandom:
    """An open file that is in no folder."""
    file = os.fdopen(os.memfd_create("wherry"), "w+b")
    file.write(content)
    file.seek(0)
    return file


# --- in the process that is forked from ---------------------------------------------------------------------------


def serve(asks: socket.socket) -> None:
    """Fork what is asked for, until nobody asks any more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            with contextlib.suppress(ImportError):
                import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch
    while True:
        word, fds, _, _ = socket.recv_fds(asks, 16, 5)
        if not word:
            return
        if os.fork() == 0:
            asks.close()
            watch(*fds)
        for fd in fds:
            os.close(fd)


def watch(wish: int, stdin: int, stdout: int, stderr: int, tell: int) -> NoReturn:
    """Fork once more, and tell the number of what was forked and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        become(wish, stdin, stdout, stderr)
    os.write(tell, b"%8d" % pid)
    for fd in (wish, stdin, stdout, stderr):
        os.close(fd)
    _, status = os.waitpid(pid, 0)
    os.write(tell, b"%8d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(wish: int, *streams: int) -> NoReturn:
    """What `python -m` does once it has started."""
    with os.fdopen(wish, "rb") as file:
        asked = json.load(file)
    os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    time.tzset()
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  # it is this process's for good
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  # likewise
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115  # likewise
    sys.path[0] = asked.get("path", asked["cwd"])
    sys.argv = ["-m", *asked["words"]]
    code: Any = 0
    try:
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = 0 if end.code is None else end.code
        if not isinstance(code, int):
            raise
    threading._shutdown()  # as the interpreter ends: what it waits for,
    atexit._run_exitfuncs()  # what was left for the end, and what was written
    sys.stdout.flush()
    os._exit(code)  # taking the libraries to pieces would take longer than most commands


if __name__ == "__main__" and TOLD in os.environ:
    typed(sys.argv[1:])
elif __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
