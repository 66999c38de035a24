"""OpenTelemetry around the runner: numbers and spans from outside the stages."""

from __future__ import annotations

import socket
import time
import urllib.request

import pytest

from alerts.store import Store
from deploy.config import TelemetryConfig
from deploy.errors import PortInUse
from deploy.runner import Observation
from deploy.telemetry import Telemetry, start, watch
from tests.deploy.scripted import RULE, ScriptedReasoner, ScriptedScorer, Site

SEEN = Observation("reason", ("w1", "w2"), 1, 1_700_000_000_000_000_000, 0.25, "ok")
RETRY = Observation("reason", ("w1",), 0, 1_700_000_000_000_000_000, 0.5, "retry")


def test_spans_carry_window_ids_and_their_real_times() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    telemetry = Telemetry(tracer=provider.get_tracer("test"))
    telemetry(SEEN)
    telemetry(RETRY)
    good, bad = spans.get_finished_spans()
    assert good.attributes is not None
    assert good.attributes["witness.windows"] == ("w1", "w2")
    assert (good.start_time, good.end_time) == (SEEN.started_ns, SEEN.started_ns + 250_000_000)
    assert (good.status.is_ok, bad.status.is_ok) == (True, False)


def test_metrics_have_no_window_ids() -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    telemetry = Telemetry(meter=MeterProvider([reader]).get_meter("test"))
    telemetry.gauge("witness.waiting", lambda: [(3.0, {"link": "reason"})])
    telemetry(SEEN)
    telemetry(RETRY)
    text = reader.get_metrics_data().to_json()  # type: ignore[union-attr]
    assert "w1" not in text
    for name in ("witness.link.records", "witness.link.duration", "witness.waiting"):
        assert name in text


def test_the_engine_and_those_passed_over_are_numbers(site: Site) -> None:
    """Which one runs and why not another: the names and kinds of the scorer that the line was given."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    with Store.open(site.data) as store:
        line = site.line(store, ScriptedScorer((RULE,), lambda name, at: False), ScriptedReasoner())
        watch(Telemetry(meter=MeterProvider([reader]).get_meter("test")), line)
        data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: [(point.value, dict(point.attributes or {})) for point in metric.data.data_points]  # type: ignore[union-attr]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert found["witness.engine"] == [(1.0, {"stage": "score", "engine": "scripted", "precision": "fp32"})]
    assert found["witness.engine.passed_over"] == [
        (1.0, {"stage": "score", "engine": "tensorrt", "reason": "unavailable"})
    ]


def test_prometheus_serves_the_numbers_and_says_when_it_cannot() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"prometheus_port {port}"):
            start(TelemetryConfig(prometheus_port=port), "node")
    telemetry = start(TelemetryConfig(prometheus_port=port), "node")
    try:
        telemetry(SEEN)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        telemetry.close()
    assert 'witness_link_records_total{link="reason"' in text
    assert "w1" not in text


def test_a_collector_that_is_away_costs_nothing_but_a_moment_at_the_end() -> None:
    telemetry = start(TelemetryConfig(otlp_endpoint="http://127.0.0.1:9"), "node")
    began = time.perf_counter()
    for _ in range(100):
        telemetry(SEEN)
    assert time.perf_counter() - began < 1
    telemetry.close()
    assert time.perf_counter() - began < 20


def test_without_exporter_nothing_is_collected() -> None:
    telemetry = start(TelemetryConfig(), "node")
    telemetry(SEEN)
    telemetry.gauge("witness.waiting", lambda: pytest.fail("nobody asked"))
    telemetry.close()
