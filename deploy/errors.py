"""What can go wrong in this room. Every message is one line: what, where, how to mend it.

DeployError
├── ConfigError    (ValueError)         the configuration is wrong; names file and place        exit 2
├── UsageError     (ValueError)         a command's arguments do not fit together               exit 2
├── PortInUse      (OSError)            a port that the process must listen on is taken         exit 2
├── PartMissing    (ModuleNotFoundError) an optional part of the installation is not there      exit 2
├── PullFailed     (RuntimeError)       a checkpoint cannot be fetched as it should be          exit 1
│   └── PullInterrupted                 the site is out of reach; trying again may help         exit 1
└── RunFailed      (RuntimeError)       the line cannot go on                                   exit 1
"""

from alerts.console.errors import PortInUse as ConsolePortInUse
from ingest.simulator.errors import SimulatorUnreachable


class DeployError(Exception):
    """Base of this room's errors."""


class ConfigError(DeployError, ValueError):
    """A configuration file is wrong: its text names the file, the place in it and the way out."""


class UsageError(DeployError, ValueError):
    """Arguments of a command that are wrong, or wrong together."""


class PortInUse(DeployError, OSError):
    """Another program listens where this one was told to."""


class PartMissing(DeployError, ModuleNotFoundError):
    """A library of an optional part (`pip install witness[...]`) is not installed."""


class PullFailed(DeployError, RuntimeError):
    """A checkpoint that the hub does not give, or gives otherwise than it states."""


class PullInterrupted(PullFailed):
    """The hub is out of reach or busy."""

    def __init__(self, text: str, pause_s: float = 0.0) -> None:
        """pause_s: what the site asks to be left alone for."""
        super().__init__(text)
        self.pause_s = pause_s


class RunFailed(DeployError, RuntimeError):
    """A run that cannot go on."""


WRONG_INPUT = (ValueError, LookupError, FileNotFoundError, IsADirectoryError, NotADirectoryError, ModuleNotFoundError)
PORT_TAKEN = (PortInUse, ConsolePortInUse, SimulatorUnreachable)


def exit_status(error: BaseException) -> int:
    """1: it failed; 2: what was asked for is wrong (arguments, configuration, files named, ports)."""
    return 2 if isinstance(error, WRONG_INPUT + PORT_TAKEN) else 1


def one_line(error: BaseException) -> str:
    """An error's text without line breaks; its class name when it has none."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
