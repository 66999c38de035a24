"""The operator's page on other screens and for other eyes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.alerts.console_browser import opened, ready, until
from tests.alerts.console_site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

CONTRAST = """() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight * linear(rgb[i] / 255), 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if ((colour[3] ?? 1) > 0.7) return colour;
    }
    return [255, 255, 255];
  };
  const hidden = (node) => !node.checkVisibility() || node.closest(".unseen, dialog, noscript, .skip");
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data.trim();
    const node = walk.currentNode.parentElement;
    if (!text || hidden(node)) continue;
    const [ink, paper] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    if (ratio < 4.5) found.push(`${text}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""


def test_reduced_motion_stills_the_loop(browser: Browser, desk: Site) -> None:
    for page in opened(browser, desk, reduced_motion="reduce"):
        ready(page)
        until(page, "document.querySelector('#thumbs video')?.readyState >= 1")
        assert page.locator("#thumbs video").evaluate("v => v.paused && !v.autoplay")
        page.keyboard.press("j")
        assert page.locator("#cards .card").first.evaluate("n => getComputedStyle(n).animationName") == "none"


@pytest.mark.parametrize("width", [1366, 1080, 640, 320])
def test_nothing_runs_off_the_page(browser: Browser, desk: Site, width: int) -> None:
    for page in opened(browser, desk):
        page.set_viewport_size({"width": width, "height": 768})
        ready(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_decides_is_on_one_screen(view: Page) -> None:
    """1366 x 768: what, where, how sure, why and the pictures, without scrolling."""
    ready(view)
    for part in ("#headline", "#priority", "#decision", "#when", "#picture img", "#thumbs", "#crop", ".bar", "#claims"):
        box = view.locator(part).first.bounding_box()
        assert box and box["y"] >= 0 and box["y"] + box["height"] <= 768, part
    picture = view.locator("#picture img").bounding_box()
    assert picture and picture["width"] * picture["height"] > 0.28 * 1366 * 768


def test_text_is_readable(view: Page) -> None:
    """WCAG 2.2, 1.4.3: every visible text has a contrast of at least 4.5 to what it stands on."""
    ready(view)
    poor = view.evaluate(CONTRAST)
    assert poor == []
