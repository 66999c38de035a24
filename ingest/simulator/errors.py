"""Errors of the simulator, each with one line that says what, where and how to mend it.

SimulatorError
├── FootageRefused (ValueError)    a file that cannot be played as a camera
├── SimulatorUnreachable (OSError) the server's port cannot be opened
└── SceneFailed (RuntimeError)     a scene could not be rendered or encoded
"""


class SimulatorError(Exception):
    """Base of everything the simulator raises on purpose."""


class FootageRefused(SimulatorError, ValueError):
    """A file that cannot be played as a camera."""


class SimulatorUnreachable(SimulatorError, OSError):
    """The server's port cannot be opened."""


class SceneFailed(SimulatorError, RuntimeError):
    """A scene could not be rendered or encoded."""
