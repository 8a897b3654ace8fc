"""The ui tier's browser and its tab on the live host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from demo.server import HostServer
from tests.ui.page import Canvas, NoBrowserError, open_browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; the tests are skipped where there is none."""
    try:
        with open_browser() as chromium:
            yield chromium
    except NoBrowserError as error:
        pytest.skip(f"There is no browser for the ui tier: {error}.")


@pytest.fixture
def canvas(browser: Browser, live_host: HostServer) -> Iterator[Canvas]:
    """A fresh tab with the host's page."""
    opened = Canvas.opened(browser, live_host.url)
    yield opened
    opened.page.close()
