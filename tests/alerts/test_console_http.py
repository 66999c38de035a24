"""The console over real sockets: what it serves, to whom, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from alerts.alert import Alert
from tests.alerts.console_case import case
from tests.alerts.console_site import GATE, Site, ago_ns, keep, serving

CASES = 3


@pytest.fixture
def newest(desk: Site) -> Alert:
    return desk.store.alerts(1)[0]


# Records


def test_alerts_come_newest_first_and_in_pages(desk: Site) -> None:
    whole = desk.get("/alerts").json()
    onsets = [record["time"]["onset"] for record in whole["alerts"]]
    assert len(onsets) == CASES and onsets == sorted(onsets, reverse=True) and whole["next"] is None
    paged: list[dict[str, Any]] = []
    page = desk.get("/alerts?limit=2").json()
    paged += page["alerts"]
    assert page["next"] == paged[-1]["alert_id"]
    page = desk.get(f"/alerts?limit=2&before={page['next']}").json()
    paged += page["alerts"]
    assert page["next"] is None and paged == whole["alerts"]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=-1", "limit=x", "limit=٣", "limit=1e9", "limit="])
def test_a_senseless_limit_is_refused(desk: Site, query: str) -> None:
    assert desk.get(f"/alerts?{query}").status_code == 400


def test_a_record_is_the_published_one(desk: Site, newest: Alert) -> None:
    answer = desk.get(f"/alerts/{newest.alert_id}")
    schema_file = Path("alerts/schema/alert-1.0.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["headline"] == newest.headline and answer.json()["revision"] == 1
    if schema_file.exists():
        jsonschema.validate(answer.json(), json.loads(schema_file.read_text()))


def test_the_link_in_a_message_opens_the_page_in_a_browser(desk: Site, newest: Alert) -> None:
    answer = desk.get(f"/alerts/{newest.alert_id}", accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert answer.headers["content-type"].startswith("text/html") and answer.text == desk.get("/").text


def test_health_and_status(desk: Site) -> None:
    assert desk.get("/healthz").json() == {"status": "ok"}
    status = desk.get("/status").json()
    assert [(c["id"], c["state"]) for c in status["cameras"]] == [("gate-1", "online"), ("hall-1", "offline")]
    assert status["windows"]["flagged"] == 9 and status["kafka"]["waiting"] == 3


def test_no_credential_leaves_in_a_status(desk: Site) -> None:
    for text in (desk.get("/status").text, read_events(desk, 2)):
        assert "S3cret" not in text and "viewer" not in text and "10.0.0.7" in text


# Evidence


def test_frames_are_the_bytes_reasoned_over(desk: Site) -> None:
    for alert in desk.store.alerts():
        for item in alert.evidence:
            answer = desk.get(f"/alerts/{alert.alert_id}/frames/{item.frame.index_in_window}.jpg")
            assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
            assert hashlib.sha256(answer.content).hexdigest() == item.frame.sha256


def test_the_clip_comes_whole_and_in_parts(desk: Site, newest: Alert) -> None:
    url = f"/alerts/{newest.alert_id}/clip.mp4"
    whole = desk.get(url)
    size = len(whole.content)
    assert whole.status_code == 200 and whole.headers["content-type"] == "video/mp4"
    assert hashlib.sha256(whole.content).hexdigest() == newest.media.clip.sha256
    part = desk.get(url, range="bytes=100-299")
    assert part.status_code == 206 and part.content == whole.content[100:300]
    assert part.headers["content-range"] == f"bytes 100-299/{size}"
    tail = desk.get(url, range="bytes=-50")
    assert tail.status_code == 206 and tail.content == whole.content[-50:]
    head = desk.http.head(url)
    assert head.status_code == 200 and head.headers["content-length"] == str(size) and not head.content


@pytest.mark.parametrize(
    "header", ["bytes=0-0,2-2", "bytes=" + "0-1," * 2000, "bytes=99999999-", "bytes=9-1", "bytes=x"]
)
def test_a_hostile_range_gets_a_short_refusal(desk: Site, newest: Alert, header: str) -> None:
    answer = desk.get(f"/alerts/{newest.alert_id}/clip.mp4", range=header)
    assert answer.status_code == 416 and len(answer.content) < 200
    assert answer.headers["content-range"] == f"bytes */{newest.media.clip.bytes}"


def test_two_range_headers_are_one_list(desk: Site, newest: Alert) -> None:
    headers = [("range", "bytes=0-0"), ("range", "bytes=1-1")]
    assert desk.http.get(f"/alerts/{newest.alert_id}/clip.mp4", headers=headers).status_code == 416


def test_headers_beyond_any_measure_end_the_connection_only(desk: Site) -> None:
    answer = desk.get("/healthz", range="bytes=" + "0-1," * 10_000)
    assert answer.status_code in (400, 431)
    assert desk.get("/healthz").status_code == 200


@pytest.mark.parametrize("file", ["frame", "clip"])
@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_an_altered_file_is_never_shown(tmp_path: Path, file: str, harm: str) -> None:
    with serving(tmp_path) as site:
        alert = keep(site.store, case(3, "abandoned_object", ago_ns(30), GATE))
        index = alert.evidence[0].frame.index_in_window
        frame = file == "frame"
        path = site.store.frame_path(alert.alert_id, index) if frame else site.store.clip_path(alert.alert_id)
        url = f"/alerts/{alert.alert_id}/" + (f"frames/{index}.jpg" if frame else "clip.mp4")
        assert site.get(url).status_code == 200
        if harm == "gone":
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.chmod(0o600)
            path.write_bytes(data)
        answer = site.get(url)
        assert answer.status_code == 409 and alert.alert_id in answer.text and answer.text.count("\n") == 1


# Live


def test_a_change_is_told_at_once_and_a_reader_resumes(desk: Site, newest: Alert) -> None:
    first = read_events(desk, 3, stop="event: alert", greeted=lambda: desk.feed.publish(newest.alert_id, 1))
    assert f'data: {{"alert_id":"{newest.alert_id}","revision":1}}' in first
    last = [line for line in first.splitlines() if line.startswith("id: ")][-1].removeprefix("id: ")
    desk.feed.publish("a-missed-one", 4)
    again = read_events(desk, 3, stop="event: alert", after=last)
    assert '"resumed":true' in again and again.count("event: alert") == 1 and '"a-missed-one","revision":4' in again


def test_who_stays_too_long_away_reads_anew(desk: Site) -> None:
    assert '"resumed":false' in read_events(desk, 1, after="deadbeef-3")


def test_live_places_are_bounded(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        streams = [httpx.Client(timeout=5) for _ in range(16)]
        contexts = [client.stream("GET", f"{site.server.url}events") for client in streams]
        try:
            assert [context.__enter__().status_code for context in contexts] == [200] * 16
            answer = site.get("/events")
            assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
            assert site.get("/healthz").status_code == 200
        finally:
            for client in streams:
                client.close()


def read_events(
    site: Site, events: int, stop: str = "\0", after: str | None = None, greeted: Callable[[], None] | None = None
) -> str:
    """The first events of a stream, or up to the end of the one that begins with `stop`; `greeted` runs after hello."""
    headers = {"last-event-id": after} if after else {}
    text, ends = "", 0
    with httpx.stream("GET", f"{site.server.url}events", headers=headers, timeout=10) as live:
        for line in live.iter_lines():
            text += f"{line}\n"
            ends += line == ""
            if ends == 1 and line == "" and greeted:
                greeted()
            if ends >= events or (line == "" and stop in text):
                break
    return text
