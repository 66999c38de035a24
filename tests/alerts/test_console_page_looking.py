"""The operator's page: what it shows, where, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from alerts.console.status import ScorerLine
from tests.alerts.console_browser import headlines, opened, ready
from tests.alerts.console_site import STATUS, Site, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser


def test_the_newest_alert_is_shown_at_once(view: Page, desk: Site) -> None:
    ready(view)
    alerts = desk.store.alerts()
    assert headlines(view) == [alert.headline for alert in alerts]
    assert view.locator("#headline").inner_text() == alerts[0].headline
    assert view.locator("[aria-current]").count() == 1
    text = view.locator("#detail").inner_text()
    for word in ("Low priority", "Confirmed", "0.91", "High confidence", "ago", alerts[0].camera.name):
        assert word in text
    assert alerts[0].rule.question in text


def test_what_was_asked_once_more_is_told_with_its_cost(view: Page, desk: Site) -> None:
    ready(view)
    assert view.locator("#rechecks").is_hidden()
    view.keyboard.press("j")
    rows = view.locator("#rechecks dl > div")
    assert [row.inner_text().split("\n") for row in rows.all()] == [
        ["The cited places alone", "bears it out", "0.60", "412 ms, 96 tokens"],
        ["All but the cited places", "speaks against it", "0.13", "1.3 s, 240 tokens"],
        ["The cited places, closer and more often", "failed", "200 ms, 0 tokens"],
    ]
    view.keyboard.press("k")
    assert view.locator("#rechecks").is_hidden()


def test_boxes_lie_on_the_picture_where_the_record_says(view: Page, desk: Site) -> None:
    ready(view)
    for size in ((1366, 768), (1000, 900), (390, 844)):
        view.set_viewport_size({"width": size[0], "height": size[1]})
        for alert in desk.store.alerts():
            view.locator(f'#cards [data-id="{alert.alert_id}"] button').click()
            for number, item in enumerate(alert.evidence[:2], start=1):
                view.keyboard.press(str(number))
                box = view.locator(f'#overlay .box[data-piece="{number}"]')
                view.wait_for_selector(f'#picture img[src$="{item.frame.index_in_window}.jpg"]')
                box.wait_for()
                picture, drawn = view.locator("#picture img").bounding_box(), box.bounding_box()
                assert picture and drawn
                x1, y1, x2, y2 = item.boxes[0].box
                wanted = (
                    picture["x"] + x1 * picture["width"], picture["y"] + y1 * picture["height"],
                    (x2 - x1) * picture["width"], (y2 - y1) * picture["height"],
                )  # fmt: skip
                found = (drawn["x"], drawn["y"], drawn["width"], drawn["height"])
                assert found == pytest.approx(wanted, abs=0.6), (size, alert.headline, number)
                shape = picture["width"] / picture["height"]
                assert shape == pytest.approx(alert.camera.frame_size.w / alert.camera.frame_size.h, abs=0.02)


def test_a_box_is_white_in_black_and_dashed_unless_supported(view: Page, desk: Site) -> None:
    ready(view)
    view.keyboard.press("j")
    styles = []
    for number in "123":
        view.keyboard.press(number)
        box = view.locator(f'#overlay .box[data-piece="{number}"]')
        box.wait_for()
        styles.append(
            box.evaluate("n => [getComputedStyle(n)].map(s => [s.borderTopColor, s.outlineColor, s.borderTopStyle])[0]")
        )
    assert [style[:2] for style in styles] == [["rgb(255, 255, 255)", "rgb(0, 0, 0)"]] * 3
    assert [style[2] for style in styles] == ["solid", "dashed", "dashed"]


def test_a_claim_moves_the_picture_to_its_frame(view: Page, desk: Site) -> None:
    ready(view)
    view.keyboard.press("j")
    view.keyboard.press("3")
    claim = view.locator("#claims button").first
    claim.focus()
    alert = desk.store.alerts()[1]
    view.wait_for_selector(f'#picture img[src$="/{alert.evidence[0].frame.index_in_window}.jpg"]')
    assert claim.get_attribute("aria-pressed") == "true"
    assert alert.claims[0].text in (view.locator("#picture img").get_attribute("alt") or "")


def test_every_picture_has_words(view: Page) -> None:
    ready(view)
    for alt in view.locator("#picture img, #thumbs img, #crop img").evaluate_all("all => all.map(n => n.alt)"):
        assert len(alt) > 10
    # The small picture in a card's button would only repeat the headline beside it.
    assert set(view.locator("#cards img").evaluate_all("all => all.map(n => n.getAttribute('alt'))")) == {""}


def test_health_is_visible(view: Page) -> None:
    strip = view.locator("#cameras").inner_text()
    assert "offline" in strip and "no answer from rtsp://10.0.0.7/stream for 42 s" in strip and "S3cret" not in strip
    assert view.locator("#kafka").inner_text() == "Kafka unreachable, 3 waiting"
    counts = view.locator("#windows").inner_text().split()
    assert counts == ["9", "flagged", "3", "alerts", "4", "rejected", "1", "merged", "1", "shed"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (ScorerLine(state="ok", engine="onnx (CPU)"), ""),
        (ScorerLine(state="ok", engine="onnx (CPU)", unscored=2), "frames not scored so far: 2"),
        (
            ScorerLine(state="fallen", engine="onnx (CPU)", unscored=2, reason="the device is lost"),
            "Pictures are scored on onnx (CPU) now: the device is lost · frames not scored so far: 2",
        ),
        (ScorerLine(state="failing", reason="the device is lost"), "No picture is scored: the device is lost"),
    ],
    ids=lambda value: value.state if isinstance(value, ScorerLine) else "",
)
def test_a_scorer_in_trouble_is_a_line_of_its_own(
    line: ScorerLine, shown: str, browser: Browser, tmp_path: Path
) -> None:
    tones = {"fallen": "review", "failing": "critical"}
    with serving(tmp_path, replace(STATUS, scorer=line)) as site:
        for page in opened(browser, site):
            strip = page.locator("#scorer")
            assert strip.text_content() == shown and strip.is_visible() == bool(shown)
            assert strip.get_attribute("data-tone") == tones.get(line.state, "quiet")
            # The lines on top share the height with the desk, and push nothing out of the window.
            assert page.evaluate("document.documentElement.scrollHeight <= window.innerHeight")
            assert page.locator("#desk").bounding_box()["height"] > 400  # type: ignore[index]


def test_an_altered_picture_is_withheld(browser: Browser, own_site: Site) -> None:
    newest = own_site.store.alerts(1)[0]
    for path in own_site.store.evidence_folder(newest.alert_id).glob("frame-*.jpg"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    context = browser.new_context()
    page = context.new_page()
    page.goto(own_site.server.url)
    page.locator("#withheld").wait_for()
    assert "does not match its recorded hash" in page.locator("#withheld").inner_text()
    assert page.locator("#picture img").count() == 0 and page.locator("#overlay .box").count() == 0
    assert page.locator("#thumbs .absent").all_inner_texts() == ["not shown"] * page.locator("#thumbs .numbers").count()
    assert page.locator("#thumbs .box").count() == 0 and page.locator("#crop").is_hidden()
    page.keyboard.press("j")
    ready(page)
    assert page.locator("#withheld").is_hidden()
    context.close()


def test_no_picture_stands_under_another_alerts_headline(view: Page, desk: Site) -> None:
    """While the next picture is on its way there is none, rather than the last one."""
    ready(view)
    held: list[Any] = []
    target = desk.store.alerts()[2]
    view.route(f"**/{target.alert_id}/frames/*", lambda route: held.append(route))
    view.reload()
    ready(view)
    view.locator(f'#cards [data-id="{target.alert_id}"] button').click()
    assert view.locator("#headline").inner_text() == target.headline
    assert view.locator("#picture img").count() == 0 and view.locator("#overlay .box").count() == 0
    for route in held:
        route.continue_()
    view.unroute(f"**/{target.alert_id}/frames/*")
    ready(view)
    assert target.alert_id in (view.locator("#picture img").get_attribute("src") or "")
