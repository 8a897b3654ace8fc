"""One live host as a child process: started on a free port, waited for, never left behind. Standard library only."""

from __future__ import annotations

import ctypes
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from .client import fetch

READY_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0
POLL_S = 0.2
TAIL_LINES = 30
LISTENING = "To see the GUI go to"  # the host logs it when its port is its own; what answers before is a stranger
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

# The host runs under this line: when our process ends in any way, its end of the pipe closes and the host ends too.
BOOT = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class HostFailed(RuntimeError):
    """The host ended or did not answer; the message holds the last lines of its log."""


class HostServer:
    """A context manager around one host; inside the block the host answers at ``url``.

    ``port`` 0 takes a free one. ``models_dir`` replaces ``base_dir/models``. It computes on the CPU, whatever the
    computer has, unless ``cpu`` is false. Raises HostFailed when the port is taken, when the host ends early, and when
    it does not answer within READY_TIMEOUT_S seconds.
    """

    def __init__(
        self,
        python: str | Path,
        host_dir: str | Path,
        base_dir: str | Path,
        port: int = 0,
        extra_env: Mapping[str, str] | None = None,
        extra_args: Sequence[str] = (),
        *,
        models_dir: str | Path | None = None,
        cpu: bool = True,
    ) -> None:
        self.python = str(python)
        self.host_dir = Path(host_dir).resolve()
        self.base_dir = Path(base_dir).resolve()
        self.models_dir = Path(models_dir).resolve() if models_dir else None
        self.port = port or free_port()
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **(extra_env or {})}
        self.extra_args = tuple(extra_args)
        self.cpu = cpu
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = self.base_dir / "host.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> HostServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> HostServer:
        """Starts the host and returns when it answers."""
        check_free(self.port)
        (self.base_dir / "custom_nodes").mkdir(parents=True, exist_ok=True)  # the host expects it
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.base_dir, env=self.env, stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def command(self) -> list[str]:
        """The command line of the host."""
        database = (self.base_dir / "comfyui.db").as_posix()
        command = [self.python, "-c", BOOT, str(self.host_dir / "main.py"), "--port", str(self.port)]
        command += ["--base-directory", str(self.base_dir), "--database-url", f"sqlite:///{database}"]
        if self.models_dir:
            command += ["--models-directory", str(self.models_dir)]
        if self.cpu:
            command += ["--cpu"]
        return command + list(self.extra_args)

    def wait_until_ready(self) -> None:
        """Returns when the host serves its nodes, which it does only after all packs are loaded."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not (LISTENING in self.log_text() and answers(f"{self.url}/object_info/KSampler")):
            self.check_alive()
            if time.monotonic() > deadline:
                raise HostFailed(f"The host did not answer within {READY_TIMEOUT_S:.0f} s.\n{self.log_tail()}")
            time.sleep(POLL_S)

    def check_alive(self) -> None:
        """Raises HostFailed when the host's process has ended."""
        if self.process is not None and self.process.poll() is not None:
            raise HostFailed(f"The host ended with exit code {self.process.returncode}.\n{self.log_tail()}")

    def log_text(self) -> str:
        """The host's log without its colours."""
        return ANSI_COLOUR.sub("", self.log_path.read_text(encoding="utf-8", errors="replace"))

    def log_tail(self) -> str:
        """The last lines of the host's log, with its path."""
        return "\n".join([f"Log: {self.log_path}", *self.log_text().splitlines()[-TAIL_LINES:]])

    def stop(self) -> None:
        """Ends the host: asked first, killed when it does not listen. Harmless when it has ended already."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            if process.stdin:
                process.stdin.close()


def free_port() -> int:
    """A port of the loopback address that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_free(port: int) -> None:
    """Raises HostFailed when nobody can listen on that port of the loopback address now."""
    with socket.socket() as probe:
        if sys.platform != "win32":  # as the host does: connections that its predecessor closed do not hold the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise HostFailed(f"The host cannot have port {port} ({error}); choose another one.") from error


def answers(url: str) -> bool:
    """True when a GET of ``url`` succeeds."""
    try:
        fetch(url, timeout_s=ANSWER_TIMEOUT_S)
    except OSError:
        return False
    return True


def cuda_driver_devices() -> int:
    """The number of CUDA devices that the machine's driver reports, 0 without a driver."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def torch_finds_cuda(python: str) -> bool:
    """True when the torch of that interpreter can use a CUDA device; torch is only asked where a driver is."""
    if cuda_driver_devices() == 0:
        return False
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
