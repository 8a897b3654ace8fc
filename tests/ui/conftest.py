"""The ui tier's front ends, its browser, and its tab on the live host."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from devtools import front_end
from devtools.page import Canvas, open_browser
from devtools.places import NoBrowserError
from devtools.server import HostServer
from tests.host.live import prepare_base


@pytest.fixture(scope="session", params=["own front end", front_end.VERSION])
def live_host(
    request: pytest.FixtureRequest, host_dir: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostServer]:
    """The run's live host with the front end that it brings, and another one with a newer front end."""
    if request.param != front_end.VERSION:
        yield request.getfixturevalue("live_host")
        return
    base = prepare_base(tmp_path_factory.mktemp("host"), models_dir)
    pages = ("--front-end-root", str(front_end.newer_front_end()))
    with HostServer(sys.executable, host_dir, base, extra_args=pages) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; where there is none the tests are skipped, or fail if WANCAST_NEEDS_BROWSER is set."""
    try:
        with open_browser() as chromium:
            yield chromium
    except NoBrowserError as error:
        give_up = pytest.fail if os.environ.get("WANCAST_NEEDS_BROWSER") else pytest.skip
        give_up(f"There is no browser for the ui tier: {error}.")


@pytest.fixture
def canvas(request: pytest.FixtureRequest, browser: Browser, live_host: HostServer) -> Iterator[Canvas]:
    """A fresh tab with the host's page, and with the settings that a test asks for."""
    opened = Canvas.opened(browser, live_host.url, **getattr(request, "param", {}))
    yield opened
    opened.page.close()
