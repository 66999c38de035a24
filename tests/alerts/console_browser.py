"""A real browser on the operator's page."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.alerts.console_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def opened(browser: Browser, site: Site, path: str = "", **options: Any) -> Iterator[Page]:
    """A page that must neither throw nor be stopped by its own policy."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(site.server.url + path)
    page.wait_for_selector('#live[data-state="live"]')
    page.wait_for_selector("#windows div")
    yield page
    context.close()
    assert complaints == []


def ready(page: Page) -> None:
    page.wait_for_selector("#picture img")


def until(page: Page, condition: str, timeout_s: float = 5.0) -> None:
    """Playwright's own waiting evaluates text inside the page, which the page's policy forbids."""
    deadline_s = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < deadline_s, condition
        page.wait_for_timeout(20)


def headlines(page: Page) -> list[str]:
    return page.locator("#cards .head").all_inner_texts()
