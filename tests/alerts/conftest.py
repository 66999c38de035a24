"""Consoles over stored alerts, and a browser for the tests marked `browser`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reasoner.verdict import Recheck
from tests.alerts.console_browser import ARGUMENTS, chromium, opened
from tests.alerts.console_case import case
from tests.alerts.console_site import GATE, HALL, Site, ago_ns, keep, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


RECHECKS = (
    Recheck(kind="crop", status="supported", score=0.6, cost_s=0.412, tokens=96),
    Recheck(kind="masked", status="contradicted", score=0.13, cost_s=1.26, tokens=240),
    Recheck(kind="closer", status="unchecked", score=0.5, cost_s=0.2, tokens=0, outcome="failed"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for the whole session: Playwright occupies the thread's event loop while it runs."""
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium: install chromium, or name one in CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def cases() -> list[Any]:
    return [
        case(3, "abandoned_object", ago_ns(400), HALL),
        case(14, "fall", ago_ns(200), GATE, severity="critical", p=0.52, decision="needs_review",
             reasons=("low_confidence",), checks=("supported", "unchecked", "contradicted"), rechecks=RECHECKS),
        case(11, "fight", ago_ns(60), HALL, severity="low"),
    ]  # fmt: skip


@pytest.fixture
def own_site(tmp_path: Path, cases: list[Any]) -> Iterator[Site]:
    with serving(tmp_path) as site:
        for one in cases:
            keep(site.store, one)
        yield site


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory, cases: list[Any]) -> Iterator[Site]:
    """For tests that only look."""
    with serving(tmp_path_factory.mktemp("desk")) as site:
        for one in cases:
            keep(site.store, one)
        yield site


@pytest.fixture
def view(browser: Browser, desk: Site) -> Iterator[Page]:
    yield from opened(browser, desk)


@pytest.fixture
def page(browser: Browser, own_site: Site) -> Iterator[Page]:
    yield from opened(browser, own_site)
