"""The live host as a child process, with a stand-in for the host: started, waited for, and never left behind."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from demo.server import HostFailed, HostServer, answers

ROOT = Path(__file__).parents[3]
HOST = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(" ".join(sys.argv).encode())

print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def host_dir(tmp_path: Path) -> Path:
    """A folder whose main.py answers every request with its command line."""
    folder = tmp_path / "a host"
    folder.mkdir()
    (folder / "main.py").write_text(HOST)
    return folder


def server(host_dir: Path) -> HostServer:
    """A server that has not been started."""
    return HostServer(sys.executable, host_dir, host_dir.parent / "base", models_dir=host_dir.parent, cpu=True)


def wait_until_gone(url: str) -> bool:
    """True when nobody answers at ``url`` any more, within ten seconds."""
    deadline = time.monotonic() + 10
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not answers(url)


def test_the_host_answers_inside_the_block_and_is_gone_after_it(host_dir: Path) -> None:
    with server(host_dir) as live:
        with urllib.request.urlopen(live.url) as response:
            said = response.read().decode()
        live.check_alive()
    assert not answers(live.url)
    assert f"--base-directory {live.base_dir}" in said and f"--models-directory {live.models_dir}" in said
    assert "--database-url sqlite:///" in said and said.endswith("--cpu")


def test_the_host_is_gone_after_an_error_in_the_block(host_dir: Path) -> None:
    live = server(host_dir)
    with pytest.raises(KeyboardInterrupt), live:
        raise KeyboardInterrupt
    assert not answers(live.url)


def test_the_host_ends_when_its_owner_is_killed(host_dir: Path) -> None:
    code = (
        "import os, sys; from demo.server import HostServer;"
        f"live = HostServer(sys.executable, {str(host_dir)!r}, {str(host_dir.parent / 'base')!r}, cpu=True).start();"
        "print(live.url, flush=True); os.abort()"
    )
    owner = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    url = owner.stdout.strip()
    assert url.startswith("http://127.0.0.1:"), owner.stderr
    assert wait_until_gone(url)


def test_a_host_that_dies_shows_the_end_of_its_log(host_dir: Path) -> None:
    (host_dir / "main.py").write_text("import sys; print('\\x1b[31mno such model\\x1b[0m'); sys.exit(7)")
    with pytest.raises(HostFailed, match=r"exit code 7\.\nLog: .*host\.log\nno such model$"):
        server(host_dir).start()


def test_a_host_that_never_answers_is_ended(host_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host_dir / "main.py").write_text("import time; time.sleep(60)")
    monkeypatch.setattr("demo.server.READY_TIMEOUT_S", 1.0)
    live = server(host_dir)
    with pytest.raises(HostFailed, match="did not answer within 1 s"):
        live.start()
    assert live.process is None
