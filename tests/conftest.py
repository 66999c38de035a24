"""A real Apache Kafka for the tests: one KRaft node, started once per run in seconds."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KAFKA_VERSION = "4.1.0"
_SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/log
num.network.threads=1
num.io.threads=2
auto.create.topics.enable=false
message.max.bytes=200000
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
{extra}
"""


class KafkaNode:
    """One broker with its data folder; may be stopped, killed and started again on the same port."""

    def __init__(self, jars: Path, folder: Path, extra: str = "") -> None:
        self._jars, self._folder = jars, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        folder.mkdir(parents=True)
        settings = _SETTINGS.format(port=self.port, controller=free_port(), folder=folder, extra=extra)
        (folder / "server.properties").write_text(settings)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, timeout_s: float = 60.0) -> None:
        """Returns when the broker answers requests, not merely listens."""
        settings = str(self._folder / "server.properties")
        if not (self._folder / "log").exists():
            tool = ["kafka.tools.StorageTool", "format", "-t", "d2l0bmVzcy10ZXN0cy0xMw", "-c", settings]
            subprocess.run(self._java(*tool), check=True, capture_output=True, timeout=timeout_s)
        with (self._folder / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(self._java("kafka.Kafka", settings), stdout=output, stderr=output)
        deadline = time.monotonic() + timeout_s
        while not asyncio.run(answers(self.bootstrap)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self._folder / "broker.log").read_text(errors="replace")[-1500:]
                self.stop()
                raise RuntimeError(f"Kafka did not start: {tail}")
            time.sleep(0.3)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Sockets stay open and nothing answers any more, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        while not all(_stopped(task) for task in Path(f"/proc/{self._process.pid}/task").iterdir()):
            time.sleep(0.01)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _java(self, *arguments: str) -> list[str]:
        small = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        return ["java", *small, "-cp", f"{self._jars}/*", *arguments]


def _stopped(task: Path) -> bool:
    """A stop signal reaches a process's threads one by one."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0] == "T"


async def answers(bootstrap: str) -> bool:
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def kafka_jars() -> Path:
    """The broker's jars, fetched once, kept outside the repository. FileNotFoundError says what is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    libs = cache / "witness" / "kafka" / KAFKA_VERSION / "libs"
    if not shutil.which("java"):
        raise FileNotFoundError("no java (17 or newer) on this machine")
    if not any(libs.glob("kafka_2.13-*.jar")):
        if not shutil.which("mvn"):
            raise FileNotFoundError(f"no Kafka jars in {libs} and no mvn to fetch them")
        fetched = libs.with_name(f"libs-{os.getpid()}")
        command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
        done = subprocess.run([*command, f"-DoutputDirectory={fetched}"], capture_output=True, timeout=300, check=False)
        if done.returncode:
            shutil.rmtree(fetched, ignore_errors=True)
            raise FileNotFoundError("mvn could not fetch Kafka's jars (is there a network?)")
        shutil.rmtree(libs, ignore_errors=True)
        fetched.rename(libs)
    return libs


@pytest.fixture(scope="session")
def kafka_libs() -> Path:
    try:
        return kafka_jars()
    except (FileNotFoundError, subprocess.TimeoutExpired) as missing:
        if os.environ.get("REQUIRE_KAFKA") == "1":
            pytest.fail(f"REQUIRE_KAFKA=1, but {missing}")
        pytest.skip(f"Kafka: {missing}")


@pytest.fixture(scope="session")
def kafka(kafka_libs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """A running broker for the whole run. A test that stops it must start it again."""
    node = KafkaNode(kafka_libs, tmp_path_factory.mktemp("kafka") / "node")
    try:
        node.start()
        yield node
    finally:
        node.stop()
