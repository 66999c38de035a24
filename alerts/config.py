"""Settings of the site, the store, the bus and the console."""

from __future__ import annotations

import ipaddress
import socket
import zoneinfo
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ingest.config import Identifier, Positive

Port = Annotated[int, Meta(ge=0, le=65535)]
Bootstrap = Annotated[str, Meta(pattern=r"^[^\s:,]+:[0-9]{1,5}(,[^\s:,]+:[0-9]{1,5})*$")]
Prefix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class SiteConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[site]` table."""

    id: Identifier = "site"
    tz: str = "UTC"
    """IANA zone; used only for the clock times inside texts, every field stays UTC."""
    node: str = ""
    """Name of this box in messages; empty: its host name."""

    def __post_init__(self) -> None:
        try:
            zoneinfo.ZoneInfo(self.tz)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{self.tz!r} is no IANA time zone (write it as Asia/Shanghai)") from None

    @property
    def node_id(self) -> str:
        return self.node or socket.gethostname() or "node"


class StoreConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[store]` table."""

    spool_mib: Annotated[int, Meta(ge=1)] = 1024
    """Bound of the evidence of unfinished windows, MiB; a window that does not fit is refused with `StoreFull`."""
    min_free_mib: Annotated[int, Meta(ge=0)] = 64
    """No new evidence is taken while the disk has less than this left, MiB."""


class KafkaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[kafka]` table. Secrets are already resolved here, so the representation hides them."""

    bootstrap: Bootstrap
    """HOST:PORT, several joined by commas."""
    topic_prefix: Prefix = "witness"
    security: Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"] = "plaintext"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: str = ""
    ca_file: str = ""
    """PEM of the authorities to trust; empty: the system's."""
    cert_file: str = ""
    key_file: str = ""
    create_topics: bool = True
    partitions: Annotated[int, Meta(ge=1, le=1000)] = 6
    replication_factor: Annotated[int, Meta(ge=1, le=10)] | None = None
    """Of topics created here; none: 3, or as many as there are brokers."""
    compression: Literal["none", "gzip"] = "gzip"
    max_record_kib: Annotated[int, Meta(ge=16)] = 1024
    request_timeout_s: Positive = 10.0
    retry_max_s: Positive = 10.0
    """Longest pause between two attempts to reach a broker that is away."""
    denied_retry_s: Positive = 30.0
    """Pause after the broker refused us."""
    drain_timeout_s: Positive = 10.0
    """At the end of a run the outbox is given this long; what is left is sent at the next start."""

    def __post_init__(self) -> None:
        if self.security.startswith("sasl") and not (self.username and self.password):
            raise ValueError(f"security {self.security!r} needs username and password")

    def __repr__(self) -> str:
        return (
            f"KafkaConfig(bootstrap={self.bootstrap!r}, topic_prefix={self.topic_prefix!r}, security={self.security!r})"
        )


class ConsoleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[console]` table."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 8080
    """0: any free port."""
    allow_remote: bool = False
    """The page has no log-in; an address other than loopback must be wanted explicitly."""

    def __post_init__(self) -> None:
        if not self.allow_remote and not loopback(self.host):
            raise ValueError(f"host {self.host!r} is reachable from outside; set allow_remote = true if that is wanted")


def loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
