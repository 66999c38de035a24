"""Where the model runs: in this process, or on a server. Both take messages and pictures, and give text with odds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from reasoner.boxes import Coordinates
from reasoner.config import ReasonerConfig
from reasoner.folder import Notes
from reasoner.prompt import Message
from reasoner.trace import Token

if TYPE_CHECKING:
    from reasoner.pixels import Pixels


class Output(NamedTuple):
    """What a model wrote."""

    text: str
    tokens: tuple[Token, ...]
    """Empty when a server gives no probabilities."""
    tokens_in: int
    tokens_out: int
    finished: bool
    """False: it was cut at the limit of new tokens."""


class Backend(Protocol):
    """One loaded model. `answer` may be called from several threads; what cannot run at once waits."""

    name: str
    weights_sha256: str
    """Empty for a server, which does not tell."""
    coordinates: Coordinates
    notes: Notes | None

    def answer(self, messages: Sequence[Message], pictures: Sequence[Pixels]) -> Output:
        """Greedy answer. Raises ModelFailed, or the Server errors."""
        ...

    def sample(
        self, messages: Sequence[Message], pictures: Sequence[Pixels], count: int, temperature: float, seed: int
    ) -> list[Output]:
        """`count` answers drawn at random, each by itself; the same seed draws the same, as far as the model computes
        the same. temperature: above 0. Raises as `answer` does."""
        ...

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """Width and height, px, at which the model sees a picture of this size."""
        ...

    def close(self) -> None:
        """Give back memory and connections."""
        ...


def apart(config: ReasonerConfig) -> bool:
    """Whether a local model runs in a process of its own: as `isolate` says, else where it runs on a CUDA GPU. These
    are counted and none is opened: no context in this process. Raises ModelFailed for a GPU that is not there."""
    if config.backend != "local" or config.isolate is not None:
        return config.backend == "local" and config.isolate is True
    from reasoner.checkpoint import resolved

    return resolved(config.device).startswith("cuda")


def open_backend(config: ReasonerConfig) -> Backend:
    """The configured backend, loaded. Heavy libraries are imported here."""
    match config.backend:
        case "local" if apart(config):
            from reasoner.isolated import IsolatedBackend

            return IsolatedBackend(config)
        case "local":
            from reasoner.backends.local import LocalBackend

            return LocalBackend.load(config)
        case "openai":
            from reasoner.backends.openai import ServerBackend

            return ServerBackend(config)
