"""The operator's page by keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.alerts.console_browser import ready, until
from tests.alerts.console_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_keys(view: Page, desk: Site) -> None:
    ready(view)
    alerts = desk.store.alerts()
    headline = view.locator("#headline")
    for key, place in (("j", 1), ("j", 2), ("j", 2), ("k", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("K", 0), ("k", 0)):
        view.keyboard.press(key)
        assert headline.inner_text() == alerts[place].headline
        focused = view.evaluate("document.activeElement.closest('li').dataset.id")
        assert focused == alerts[place].alert_id
    view.keyboard.press("b")
    assert view.locator("#overlay .box").first.is_hidden()
    view.keyboard.press("b")
    assert view.locator("#overlay .box").first.is_visible()
    view.keyboard.press("?")
    assert view.locator("#help").is_visible()
    view.keyboard.press("j")
    assert headline.inner_text() == alerts[0].headline
    view.keyboard.press("Escape")
    assert view.locator("#help").is_hidden()


def test_the_space_bar_plays_and_pauses_the_clip(view: Page) -> None:
    ready(view)
    view.locator("#cards button").first.focus()
    clip = view.locator("#clip")
    view.keyboard.press(" ")
    until(view, "document.getElementById('clip').currentTime > 0.1")
    assert clip.is_visible() and clip.evaluate("v => v.muted && v.loop")
    view.keyboard.press(" ")
    assert clip.evaluate("v => v.paused")
    view.keyboard.press(" ")
    until(view, "!document.getElementById('clip').paused")
    view.keyboard.press("Escape")
    assert clip.is_hidden() and view.locator("#overlay .box").first.is_visible()


def test_boxes_appear_over_the_clip_at_their_instants_only(view: Page, desk: Site) -> None:
    ready(view)
    alert = desk.store.alerts(1)[0]
    view.keyboard.press(" ")
    until(view, "document.getElementById('clip').duration > 0")
    view.evaluate("document.getElementById('clip').pause()")
    at_s = view.evaluate(
        "a => (Date.parse(a[0]) - Date.parse(a[1])) / 1000", [alert.evidence[0].time, alert.media.clip.start]
    )
    seek = (
        "s => new Promise(done => { const v = document.getElementById('clip'); v.onseeked = done; v.currentTime = s; })"
    )
    boxes = view.locator("#overlay .box")
    view.evaluate(f"s => ({seek})(s).then(() => 0)", at_s)
    boxes.first.wait_for()
    assert boxes.count() == len([item for item in alert.evidence if item.time == alert.evidence[0].time])
    view.evaluate(f"s => ({seek})(s).then(() => 0)", 0.0)
    until(view, "!document.querySelector('#overlay .box')")
    assert boxes.count() == 0 and view.locator("#clip").is_visible()


def test_single_keys_can_be_switched_off(view: Page, desk: Site) -> None:
    ready(view)
    view.locator("#help-open").click()
    view.locator("#keys-on").uncheck()
    view.locator("#help button").click()
    view.keyboard.press("j")
    assert view.locator("#headline").inner_text() == desk.store.alerts()[0].headline
    view.reload()
    ready(view)
    assert not view.locator("#keys-on").is_checked()
