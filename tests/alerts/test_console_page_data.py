"""Data is not markup: hostile texts on the operator's page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from alerts.console.status import CameraLine, ConsoleStatus, KafkaLine, ScorerLine
from ingest.config import CameraConfig
from tests.alerts.console_browser import opened, ready
from tests.alerts.console_case import case
from tests.alerts.console_site import Site, ago_ns, keep, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

XSS = (
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    '"><svg onload=window.hit=1>',
    "javascript:window.hit=1//",
    "{{constructor.constructor('window.hit=1')()}}",
    "</title><script>window.hit=1</script>",
    "&lt;b&gt;&amp;",
    "<style>*{display:none}</style>",
    "'onfocus=window.hit=1 autofocus x='",
)


def test_hostile_texts_stay_texts(browser: Browser, tmp_path: Path) -> None:
    lines = tuple(CameraLine(id=f"c{i}", name=text, state="offline", reason=text) for i, text in enumerate(XSS))
    status = ConsoleStatus(
        site=XSS[0],
        started_utc_ns=1,
        cameras=lines,
        kafka=KafkaLine(state="unreachable", reason=XSS[1]),
        scorer=ScorerLine(state="failing", engine=XSS[0], unscored=3, reason=XSS[1]),
        windows={"flagged": 1, "shed": 1},
        shed_reasons={XSS[1]: 1},
    )
    with serving(tmp_path, status) as site:
        for number, text in enumerate(XSS):
            camera = CameraConfig(id=f"cam-{number}", url="rtsp://127.0.0.1/x", name=text)
            alert, window = case(3, "abandoned_object", ago_ns(900 - number), camera, question=text, sentences=(text,))
            hostile = replace(
                alert,
                headline=text[:80],
                evidence=tuple(
                    replace(e, boxes=tuple(replace(b, label=text) for b in e.boxes), note=text) for e in alert.evidence
                ),
                decision=replace(alert.decision, reasons=(text,)),
                confidence=replace(alert.confidence, components={text: 0.5}),
                review=replace(alert.review, by=text, reason=text),
            )
            keep(site.store, (hostile, window))
        for page in opened(browser, site):
            for number in range(len(XSS)):
                ready(page)
                text = XSS[len(XSS) - 1 - number]
                assert page.locator("#headline").text_content() == text[:80]
                assert text in (page.locator("#facts").text_content() or "")
                assert page.locator("#camera").text_content() == text
                page.keyboard.press("j")
            assert page.evaluate("window.hit") is None
            shown = page.locator("#cameras b").all_text_contents()
            assert sorted(shown) == sorted(XSS)
            assert page.locator("body script, body style, body img[onerror], body svg[onload]").count() == 0
            assert page.locator("#site").text_content() == XSS[0]
            assert XSS[1] in (page.locator("#scorer").text_content() or "")


def test_the_policy_stops_what_the_page_would_never_do(browser: Browser, desk: Site) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(desk.server.url)
    ready(page)
    for attempt in (
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.insertAdjacentHTML('beforeend', '<b>x</b>')",
        "document.createElement('script').src = '/static/page.js'",
    ):
        with pytest.raises(Exception, match=r"TrustedHTML|TrustedScriptURL"):
            page.evaluate(attempt)
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'went', () => 'stopped')") == "stopped"
    context.close()
