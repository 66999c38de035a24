"""Why the console does not start, or does not answer.

ConsoleError
├── BindRefused (ValueError)     the address is not loopback and nobody said that this is wanted, or it is no address
├── PortInUse (OSError)          another program listens there
├── TooManyClients (RuntimeError) as many browsers follow the live updates as are served at once
└── EvidenceAltered (ValueError) a stored file is no longer the one that the alert names by its hash
"""

from alerts.errors import AlertsError


class ConsoleError(AlertsError):
    """Any refusal of the console; the message is one line."""


class BindRefused(ConsoleError, ValueError):
    """The address must not be listened on."""


class PortInUse(ConsoleError, OSError):
    """Another program listens on the port."""


class TooManyClients(ConsoleError, RuntimeError):
    """No more live connections are served."""


class EvidenceAltered(ConsoleError, ValueError):
    """The file differs from the hash in the alert."""
