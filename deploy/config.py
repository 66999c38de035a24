"""One TOML file into one frozen, checked configuration; every mistake is one line that names its place."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from alerts.config import ConsoleConfig, KafkaConfig, SiteConfig, StoreConfig
from deploy.errors import ConfigError
from deploy.mistake import describe
from deploy.secret import Resolver, written_in
from detector.config import DetectorConfig
from detector.rule import Rule
from ingest.config import CameraConfig, IngestConfig, Positive
from reasoner.config import ReasonerConfig

MAX_FILE_BYTES = 4 << 20
DEMO_RULES = Path(__file__).parent / "examples" / "demo-rules.toml"
DEFAULT_COOLDOWN_S = 120.0
Port = Annotated[int, Meta(ge=1, le=65535)]


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[telemetry]` table. Neither key set: nothing is exported."""

    otlp_endpoint: str = ""
    """Base URL of an OTLP/HTTP collector, as `http://127.0.0.1:4318`; traces and metrics go there."""
    prometheus_port: Port | None = None
    """Metrics are served here when no collector is named."""
    prometheus_host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if self.otlp_endpoint and not self.otlp_endpoint.startswith(("http://", "https://")):
            raise ValueError('otlp_endpoint must be a URL such as "http://127.0.0.1:4318"')


class PipelineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[pipeline]` table: bounds of the queues between the stages."""

    waiting_windows: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Windows that may wait for the reasoner; beyond it the least important one is shed."""
    wait_s: Positive = 60.0
    """Longest wait for the reasoner; a window older than that is shed."""
    drain_s: Annotated[float, Meta(ge=0, le=600)] = 15.0
    """At the end, flagged windows are examined for so long; what is left then is shed."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything one node needs to know."""

    camera: tuple[CameraConfig, ...] = ()
    rule: tuple[Rule, ...] = ()
    """None given at all: those of `default_rules`, on every camera."""
    data: Annotated[str, Meta(min_length=1)] = "./data"
    """Folder of the store, counted from the working directory."""
    ingest: IngestConfig = IngestConfig()
    detector: DetectorConfig = DetectorConfig()
    reasoner: ReasonerConfig = ReasonerConfig()
    store: StoreConfig = StoreConfig()
    kafka: KafkaConfig | None = None
    console: ConsoleConfig = ConsoleConfig()
    site: SiteConfig = SiteConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    pipeline: PipelineConfig = PipelineConfig()


class RuleFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of `[[rule]]` tables alone, to be appended to any list of cameras."""

    rule: tuple[Rule, ...]


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration and the secret values that were put into it, which must never be shown."""

    config: Config
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Loaded({len(self.config.camera)} cameras, {len(self.secrets)} secrets)"


Shape = TypeVar("Shape", bound=msgspec.Struct)


def load(path: Path, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read and check a configuration; raises ConfigError with one line `FILE: PATH (ID): what is wrong`.

    environment: where `${NAME}` is looked up (os.environ by default).
    """
    document = _read(path)
    resolver = Resolver(os.environ if environment is None else environment, path.parent)
    try:
        resolved = resolver.resolve(document)
        config = _convert(resolved, Config)
        if "rule" not in document:
            config = msgspec.structs.replace(config, rule=default_rules())
        check(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return Loaded(config=config, secrets=tuple(dict.fromkeys([*resolver.values, *written_in(resolved)])))


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file without cameras; raises ConfigError."""
    rules = load_table(path, RuleFile).rule
    try:
        _distinct("rule", [rule.id for rule in rules])
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return rules


def default_rules() -> tuple[Rule, ...]:
    """The demo's rules with the cool-down of a real site."""
    return tuple(msgspec.structs.replace(rule, cooldown_s=DEFAULT_COOLDOWN_S) for rule in load_rules(DEMO_RULES))


def load_table(path: Path, shape: type[Shape]) -> Shape:
    """A file that is one struct, as the settings of a training; raises ConfigError."""
    document = _read(path)
    try:
        return _convert(document, shape)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def keys(path: Path) -> frozenset[str]:
    """The top-level keys of a file, by which it tells what it is; raises ConfigError."""
    return frozenset(_read(path))


def check(config: Config) -> None:
    """What no single table can know: ids that are distinct and exist, zones that some camera of the rule has."""
    from ingest.errors import SourceRefused
    from ingest.source import check_url

    if not config.camera:
        raise ConfigError("$.camera: no camera; add a [[camera]] table with id and url")
    if not config.rule:
        raise ConfigError("$.rule: an empty list; leave it out for the default rules, or add a [[rule]] table")
    _distinct("camera", [camera.id for camera in config.camera])
    _distinct("rule", [rule.id for rule in config.rule])
    for index, camera in enumerate(config.camera):
        try:
            check_url(camera.url)
        except SourceRefused as error:
            raise ConfigError(f"$.camera[{index}].url ({camera.id}): {error}") from None
    for index, rule in enumerate(config.rule):
        _check_rule(index, rule, config.camera)


def _check_rule(index: int, rule: Rule, cameras: tuple[CameraConfig, ...]) -> None:
    known = {camera.id for camera in cameras}
    for position, name in enumerate(rule.cameras):
        if name not in known:
            raise ConfigError(
                f'$.rule[{index}].cameras[{position}] ({rule.id}): no camera "{name}"; known are {_names(known)}'
            )
    zones = {zone for camera in cameras if rule.applies_to(camera.id) for zone in camera.zones}
    for position, name in enumerate(rule.zones):
        if name not in zones:
            raise ConfigError(
                f'$.rule[{index}].zones[{position}] ({rule.id}): no camera of this rule has a zone "{name}"; '
                + (f"known are {_names(zones)}" if zones else "they have none: add zones.NAME = [[x, y], ...]")
            )


def _names(names: set[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:8]) + (f" and {len(ordered) - 8} more" if len(ordered) > 8 else "")


def _distinct(kind: str, ids: list[str]) -> None:
    for index, name in enumerate(ids):
        if (first := ids.index(name)) != index:
            raise ConfigError(f'$.{kind}[{index}].id: "{name}" is already the id of $.{kind}[{first}]; choose another')


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB, no configuration")
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {_with_line(str(error), path)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply, no configuration") from None


def _with_line(text: str, path: Path) -> str:
    """The parser's message; it names no line when the text ends too early, so the last one is."""
    text = " ".join(text.split())
    if "at line" in text:
        return text
    last = len(path.read_bytes().splitlines())
    return f"{text} (line {last} is the last)"


def _convert(document: dict[str, Any], shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise ConfigError(describe(error, document, shape)) from None
