"""The live host as a child process, with a stand-in for the host: started, waited for, and never left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from devtools.client import fetch
from devtools.server import HostFailed, HostServer, answers

ROOT = Path(__file__).parents[3]
HOST = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(" ".join(sys.argv).encode())

listening = http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler)
print("To see the GUI go to: here", flush=True)
listening.serve_forever()
"""
SLEEPER = "import time; time.sleep(60)"
OWNER = """
import os, sys
from devtools.server import HostServer

print(HostServer(sys.executable, sys.argv[1], sys.argv[1] + "/base").start().url, flush=True)
os.abort()
"""


@pytest.fixture
def host_dir(tmp_path: Path) -> Path:
    """A folder whose main.py answers every request with its command line."""
    folder = tmp_path / "a host"
    folder.mkdir()
    (folder / "main.py").write_text(HOST)
    return folder


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of another program that answers every request."""
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        yield other.server_port
        other.shutdown()


def server(host_dir: Path, port: int = 0) -> HostServer:
    """A server that has not been started."""
    return HostServer(sys.executable, host_dir, host_dir.parent / "base", port, models_dir=host_dir.parent)


def test_the_host_answers_inside_the_block_and_its_port_is_free_after_it(host_dir: Path) -> None:
    with server(host_dir) as live:
        said = fetch(live.url).decode()
        live.check_alive()
    assert not answers(live.url)
    assert f"--base-directory {live.base_dir}" in said and f"--models-directory {live.models_dir}" in said
    assert "--database-url sqlite:///" in said and said.endswith("--cpu")
    again = server(host_dir, live.port)
    with pytest.raises(KeyboardInterrupt), again:
        assert answers(again.url)
        raise KeyboardInterrupt
    assert not answers(again.url)


def test_a_host_computes_on_the_cpu_whatever_the_computer_has(host_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devtools.server.torch_finds_cuda", lambda _python: True)
    assert server(host_dir).command()[-1] == "--cpu"
    assert "--cpu" not in HostServer(sys.executable, host_dir, host_dir, cpu=False).command()


def test_the_host_ends_when_its_owner_is_killed(host_dir: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(host_dir)]
    owner = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    url = owner.stdout.strip()
    assert url.startswith("http://127.0.0.1:"), owner.stderr
    deadline = time.monotonic() + 10
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(url)


def test_a_host_that_dies_shows_the_end_of_its_log(host_dir: Path) -> None:
    (host_dir / "main.py").write_text("import sys; print('\\x1b[31mno such model\\x1b[0m'); sys.exit(7)")
    with pytest.raises(HostFailed, match=r"exit code 7\.\nLog: .*host\.log\nno such model$"):
        server(host_dir).start()


def test_a_host_that_never_answers_is_ended(host_dir: Path, stranger: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when a stranger who took its port meanwhile answers in its place."""
    (host_dir / "main.py").write_text(SLEEPER)
    monkeypatch.setattr("devtools.server.READY_TIMEOUT_S", 1.0)
    monkeypatch.setattr("devtools.server.check_free", lambda _port: None)
    for port in (0, stranger):
        live = server(host_dir, port)
        with pytest.raises(HostFailed, match="did not answer within 1 s"):
            live.start()
        assert live.process is None


def test_a_port_that_is_taken_or_does_not_exist_is_refused_before_anything_starts(
    host_dir: Path, stranger: int
) -> None:
    for port in (stranger, 65536):
        live = server(host_dir, port)
        with pytest.raises(HostFailed, match=rf"^The host cannot have port {port} \(.*\); choose another one\.$"):
            live.start()
        assert live.process is None and not live.log_path.exists()


def test_the_host_is_asked_without_a_proxy(stranger: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert answers(f"http://127.0.0.1:{stranger}")
