"""The operator's page while alerts come, change and the console goes away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from alerts.alert import Alert, ClipRecord
from alerts.retraction import retracted
from detector.window import Window
from reasoner.verdict import Verdict
from tests.alerts import sample
from tests.alerts.console_browser import headlines, opened, ready, until
from tests.alerts.console_case import case
from tests.alerts.console_site import GATE, STATUS, Site, ago_ns, keep, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


def test_a_new_alert_appears_by_itself_and_takes_nothing_away(page: Page, own_site: Site) -> None:
    ready(page)
    page.keyboard.press("j")
    before = own_site.store.alerts()
    focused = page.locator("#cards button:focus")
    place = focused.bounding_box()
    late = case(17, "abandoned_object", ago_ns(5), GATE, severity="critical")
    added = keep(own_site.store, late)
    began = time.monotonic()
    page.wait_for_selector(f'#cards [data-id="{added.alert_id}"]', timeout=2000)
    assert time.monotonic() - began < 2.0
    assert headlines(page) == [added.headline, *(alert.headline for alert in before)]
    assert page.locator("#headline").inner_text() == before[1].headline
    assert page.evaluate("document.activeElement.closest('li').dataset.id") == before[1].alert_id
    assert page.locator("#newer").inner_text() == "1 new ↑"
    assert added.headline in page.locator("#urgent").inner_text()
    assert place is not None and page.locator("#cards button:focus").bounding_box() is not None
    page.locator("#newer").click()
    assert page.locator("#headline").inner_text() == added.headline and page.locator("#newer").is_hidden()


def test_the_focused_card_does_not_move(page: Page, own_site: Site) -> None:
    page.set_viewport_size({"width": 1366, "height": 300})
    ready(page)
    page.keyboard.press("j")
    place = page.locator("#cards button:focus").bounding_box()
    added = keep(own_site.store, case(17, "abandoned_object", ago_ns(5), GATE))
    page.wait_for_selector(f'#cards [data-id="{added.alert_id}"]')
    moved = page.locator("#cards button:focus").bounding_box()
    assert place and moved and moved["y"] == pytest.approx(place["y"], abs=1)


def test_a_new_revision_changes_words_in_place(page: Page, own_site: Site) -> None:
    ready(page)
    page.keyboard.press("2")
    alert = own_site.store.alerts(1)[0]
    own_site.store.revise(replace(alert, revision=2, headline="Something else by now", occurrences=4))
    until(page, "document.getElementById('headline').textContent === 'Something else by now'")
    assert len(headlines(page)) == 3 and headlines(page)[0] == "Something else by now"
    assert "4 merged" in page.locator("#about").inner_text()
    own_site.store.close_alert(alert.alert_id)
    until(page, "document.getElementById('about').innerText.includes('Over, nothing more came')")
    assert page.locator('#overlay .box[data-piece="2"][data-current="true"]').count() == 1


def test_a_retracted_alert_is_struck_through_with_what_argues_against_it(page: Page, own_site: Site) -> None:
    """A later look at the same footage, asked the same, that says no."""
    ready(page)
    alert, window, verdict = later_no(own_site)
    before = page.locator(f'#cards [data-id="{alert.alert_id}"] .card')
    assert before.get_attribute("data-state") == "open" and page.locator("#counter").is_hidden()
    place = page.locator("#headline").inner_text()
    own_site.store.retract(window.window_id, alert, verdict)
    card = page.locator(f'#cards [data-id="{alert.alert_id}"] .card[data-state="retracted"]')
    card.wait_for(timeout=2000)
    assert page.locator("#headline").inner_text() == place and page.locator("#decision").inner_text() == "Retracted"
    assert "Retracted" in card.inner_text() and "Confirmed" not in card.inner_text()
    for struck in (card.locator(".head"), page.locator("#headline")):
        assert "line-through" in struck.evaluate("node => getComputedStyle(node).textDecorationLine")
    assert page.locator("#said").inner_text() == f"Retracted: {alert.headline}"
    rows = page.locator("#counter li")
    assert rows.count() == len(alert.counter_evidence) >= 2
    assert alert.counter_evidence[0].note in rows.first.inner_text()
    rows.first.scroll_into_view_if_needed()
    until(page, "[...document.querySelectorAll('#counter img')].slice(0, 1).every((img) => img.naturalWidth > 0)")
    assert "Taken back" in page.locator("#confidence").inner_text()
    path = own_site.store.counter_path(alert.alert_id, alert.counter_evidence[0].frame.index_in_window)
    url = f"/alerts/{alert.alert_id}/counter/{alert.counter_evidence[0].frame.index_in_window}.jpg"
    assert own_site.get(url).content == path.read_bytes()
    assert own_site.get(url.replace("/counter/", "/counter/9")).status_code == 404
    path.write_bytes(path.read_bytes() + b"x")
    assert own_site.get(url).status_code == 409


def later_no(site: Site) -> tuple[Alert, Window, Verdict]:
    """The newest alert of the site as taken back, and the spooled window that does it."""
    alert = site.store.alerts(1)[0]
    seen = site.store.window(alert.alert_id)
    later = replace(seen, span=replace(seen.span, window_id="0" * 32))
    said = replace(
        sample.no(sample.window()), window_id=later.window_id, reasoned_utc_ns=later.span.flagged_utc_ns + 10**9
    )
    site.store.flag(later.span)
    site.store.put_window(later)
    last = len(later.cut.frames) - 1
    return retracted(alert, said, later, (0, last), said.reasoned_utc_ns), later, said


def test_the_first_alert_replaces_nothing_yet(browser: Browser, tmp_path: Path, cases: list[Any]) -> None:
    with serving(tmp_path) as site:
        for page in opened(browser, site):
            assert "1 of 2 cameras are watched" in page.locator("#nothing").inner_text()
            assert page.locator("#detail").is_hidden()
            page.keyboard.press("j")
            page.keyboard.press("1")
            page.keyboard.press(" ")
            alert = keep(site.store, cases[0])
            ready(page)
            assert page.locator("#nothing").is_hidden()
            assert page.locator("#headline").inner_text() == alert.headline


def test_a_lost_console_is_said_and_what_was_missed_is_fetched(
    browser: Browser, tmp_path: Path, cases: list[Any]
) -> None:
    from alerts.console.app import build_app
    from alerts.console.feed import Feed
    from alerts.console.server import ConsoleServer

    with serving(tmp_path) as site:
        keep(site.store, cases[0])
        context = browser.new_context()
        page = context.new_page()
        page.goto(site.server.url)
        ready(page)
        port = site.server.port
        site.server.stop()
        page.wait_for_selector('#live[data-state="lost"]')
        missed = keep(site.store, cases[1])
        assert page.locator(f'#cards [data-id="{missed.alert_id}"]').count() == 0
        feed = Feed()
        with ConsoleServer(build_app(site.store, lambda: STATUS, feed), feed, port=port):
            page.wait_for_selector(f'#cards [data-id="{missed.alert_id}"]', timeout=10_000)
            page.wait_for_selector('#live[data-state="live"]')
            assert page.locator("#cards [data-id]").count() == 2
        context.close()


def test_older_alerts_come_when_asked_for_and_a_link_opens_its_alert(browser: Browser, own_site: Site) -> None:
    first = own_site.store.alerts()[-1]
    alert, window = one_frame(case(3, "abandoned_object", ago_ns(50), GATE))
    for number in range(30):
        own = replace(window, span=replace(window.span, window_id=f"{number:032x}"))
        keep(own_site.store, (replace(alert, alert_id=f"{alert.alert_id[:-4]}{number:04x}"), own))
    for page in opened(browser, own_site):
        page.locator("#older").wait_for()
        assert page.locator("#cards > li").count() == 30
        page.locator("#older").click()
        page.wait_for_selector(f'#cards [data-id="{first.alert_id}"]')
        assert page.locator("#cards > li").count() == 33 and page.locator("#older").is_hidden()
    for page in opened(browser, own_site, f"alerts/{first.alert_id}"):
        ready(page)
        assert page.locator("#headline").inner_text() == first.headline


def one_frame(made: tuple[Alert, Window]) -> tuple[Alert, Window]:
    """The same alert resting on a single stored picture and no clip: thirty of them are quickly written."""
    alert, window = made
    item = alert.evidence[0]
    frame = window.cut.frames[item.frame.index_in_window]
    rests = replace(item, frame=replace(item.frame, index_in_window=0))
    claims = tuple(replace(claim, evidence_ids=(rests.id,)) for claim in alert.claims)
    media = replace(alert.media, clip=ClipRecord(status="failed"))
    cut = replace(window.cut, frames=(frame,), clip=None)
    return replace(alert, evidence=(rests,), claims=claims, media=media), replace(window, cut=cut)
