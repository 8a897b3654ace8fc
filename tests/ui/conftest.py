"""The ui tier's browser and its tab on the live host."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from devtools.page import Canvas, open_browser
from devtools.places import NoBrowserError
from devtools.server import HostServer


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
def canvas(browser: Browser, live_host: HostServer) -> Iterator[Canvas]:
    """A fresh tab with the host's page."""
    opened = Canvas.opened(browser, live_host.url)
    yield opened
    opened.page.close()
