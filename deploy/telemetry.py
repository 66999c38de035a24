"""OpenTelemetry around the runner: a span and a few numbers per link, taken from outside the stages.

A collector named in the configuration receives traces and metrics over OTLP/HTTP; else metrics are served for
Prometheus when a port is set; else nothing is collected. Window ids are attributes of spans, never of metrics.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from deploy.config import TelemetryConfig
from deploy.errors import PortInUse
from deploy.runner import Observation

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter
    from opentelemetry.metrics import Observation as Reading
    from opentelemetry.trace import Tracer

    from deploy.pipeline import Pipeline

log = logging.getLogger(__name__)

Number = tuple[float, dict[str, str]]
"""A value and its attributes."""
SERVICE = "witness"
MAX_KEYS = 16
"""Window ids written on one span; a batch may be larger."""


class Telemetry:
    """Call it with each observation of the runner. Without exporter it costs one attribute test."""

    def __init__(
        self, meter: Meter | None = None, tracer: Tracer | None = None, close: Callable[[], None] | None = None
    ):
        self._tracer = tracer
        self._meter = meter
        self._close = close
        if meter is not None:
            self._records = meter.create_counter("witness.link.records", description="Records given to a link")
            self._seconds = meter.create_histogram("witness.link.duration", unit="s", description="Time of one attempt")

    def __call__(self, observation: Observation) -> None:
        if self._meter is not None:
            attributes = {"link": observation.link, "outcome": observation.outcome}
            self._records.add(len(observation.keys), attributes)
            self._seconds.record(observation.seconds, attributes)
        if self._tracer is not None:
            self._trace(observation)

    def _trace(self, observation: Observation) -> None:
        from opentelemetry.trace import Status, StatusCode

        assert self._tracer is not None
        span = self._tracer.start_span(
            observation.link,
            start_time=observation.started_ns,
            attributes={
                "witness.windows": list(observation.keys[:MAX_KEYS]),
                "witness.records": len(observation.keys),
                "witness.emitted": observation.emitted,
                "witness.outcome": observation.outcome,
            },
        )
        if observation.outcome != "ok":
            span.set_status(Status(StatusCode.ERROR, observation.outcome))
        span.end(observation.started_ns + int(observation.seconds * 1e9))

    def gauge(self, name: str, read: Callable[[], Iterable[Number]], description: str = "") -> None:
        """Numbers read whenever somebody asks."""
        if self._meter is None:
            return
        from opentelemetry.metrics import Observation as Reading

        def readings(options: CallbackOptions) -> Iterable[Reading]:
            return [Reading(value, attributes) for value, attributes in read()]

        self._meter.create_observable_gauge(name, [readings], description=description)

    def close(self) -> None:
        """Send what is still buffered; at most a few seconds."""
        if self._close is not None:
            self._close()


def watch(telemetry: Telemetry, line: Pipeline) -> None:
    """What the line knows of itself, read when somebody asks: depths, drops, ends of windows, cameras."""
    links = line.runner.links

    def waiting() -> list[Number]:
        return [(sum(map(len, link.inboxes)), {"link": link.name}) for link in links]

    def dropped() -> list[Number]:
        return [(sum(inbox.dropped for inbox in link.inboxes), {"link": link.name}) for link in links]

    def windows() -> list[Number]:
        counts = line.ledger.windows()
        return [(getattr(counts, name), {"outcome": name}) for name in counts.__struct_fields__]

    telemetry.gauge("witness.inbox.waiting", waiting, "Records in front of a link")
    telemetry.gauge("witness.inbox.dropped", dropped, "Records given up because an inbox was full")
    telemetry.gauge("witness.windows", windows, "Flagged windows of this run and how they ended")
    telemetry.gauge(
        "witness.windows.late",
        lambda: [(line.ledger.late, {})],
        "Outcomes dropped because their window had already ended",
    )
    telemetry.gauge(
        "witness.reasoner",
        lambda: [(number, {"count": name}) for name, number in line.reasoner.counts().items()],
        "What a model server, or a model in its own process, cost so far",
    )
    telemetry.gauge(
        "witness.windows.shed",
        lambda: [(number, {"reason": reason}) for reason, number in list(line.shed_reasons.items())],
        "Windows that were not examined",
    )
    telemetry.gauge(
        "witness.engine",
        lambda: [(1.0, {"stage": "score", "engine": line.engine, "precision": line.precision})],
        "1 for the engine in use",
    )
    telemetry.gauge(
        "witness.engine.passed_over",
        lambda: [(1.0, {"stage": "score", "engine": one.engine, "reason": one.kind}) for one in line.passed_over],
        "1 for each engine that was tried before; the whole reason is in the log",
    )
    telemetry.gauge(
        "witness.engine.failing",
        lambda: [(float(bool(line.trouble)), {"stage": "score", "engine": line.engine})],
        "1 while the engine in use serves no call; the whole reason is in the log and on the page",
    )
    telemetry.gauge(
        "witness.frames.unscored",
        lambda: [(line.unscored, {})],
        "Coarse frames that the scorer could not take",
    )
    telemetry.gauge(
        "witness.camera.online",
        lambda: [(float(status.state == "online"), {"camera": status.camera_id}) for status in line.statuses()],
        "1 while pictures come",
    )


def start(config: TelemetryConfig, node: str) -> Telemetry:
    """Raises PortInUse when the Prometheus port is taken."""
    if config.otlp_endpoint:
        return _otlp(config.otlp_endpoint.rstrip("/"), node)
    if config.prometheus_port is not None:
        return _prometheus(config.prometheus_host, config.prometheus_port, node)
    return Telemetry()


def _otlp(endpoint: str, node: str) -> Telemetry:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": SERVICE, "service.instance.id": node})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=3)))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=3))
    metrics = MeterProvider([reader], resource=resource)

    def close() -> None:
        traces.force_flush(3000)
        traces.shutdown()
        metrics.shutdown(3000)

    return Telemetry(metrics.get_meter(SERVICE), traces.get_tracer(SERVICE), close)


def _prometheus(host: str, port: int, node: str) -> Telemetry:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        raise PortInUse(
            f"[telemetry] prometheus_port {port} on {host} cannot be opened ({error.strerror}); choose another"
        ) from None
    resource = Resource.create({"service.name": SERVICE, "service.instance.id": node})
    metrics = MeterProvider([PrometheusMetricReader()], resource=resource)

    def close() -> None:
        metrics.shutdown(3000)
        server.shutdown()
        thread.join(3)

    return Telemetry(metrics.get_meter(SERVICE), None, close)
