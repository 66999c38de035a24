"""What can go wrong with a camera.

IngestError
├── SourceRefused (ValueError)            our policy says no: scheme, host, redirect, codec, or too large
├── SourceUnreachable (ConnectionError)   nobody answers, or the answer is not a stream
├── CredentialsRefused (PermissionError)  the camera wants another user or password
├── SourceStalled (TimeoutError)          the camera answers, then stays silent
├── SourceUndecodable (ValueError)        packets come, pictures do not
├── SourceDied (ChildProcessError)        the camera's process ended or had to be killed
└── CutUnavailable (LookupError)          no packets of that span are held

A stream that ends is no error: it is the fault `ended`. Messages are one line: what, where, how to mend it; they never
hold a credential.
"""

from typing import ClassVar, Literal

Fault = Literal["ended", "refused", "unreachable", "credentials", "stalled", "undecodable", "died"]


class IngestError(Exception):
    """Any trouble of ingest. `fault` names its kind."""

    fault: ClassVar[Fault] = "died"


class SourceRefused(IngestError, ValueError):
    fault: ClassVar[Fault] = "refused"


class SourceUnreachable(IngestError, ConnectionError):
    fault: ClassVar[Fault] = "unreachable"


class CredentialsRefused(IngestError, PermissionError):
    fault: ClassVar[Fault] = "credentials"


class SourceStalled(IngestError, TimeoutError):
    fault: ClassVar[Fault] = "stalled"


class SourceUndecodable(IngestError, ValueError):
    fault: ClassVar[Fault] = "undecodable"


class SourceDied(IngestError, ChildProcessError):
    fault: ClassVar[Fault] = "died"


class CutUnavailable(IngestError, LookupError):
    """`reason` is the line to show; the window it was meant for has to be shed with it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_BY_FAULT: dict[Fault, type[IngestError]] = {
    kind.fault: kind
    for kind in (
        SourceRefused,
        SourceUnreachable,
        CredentialsRefused,
        SourceStalled,
        SourceUndecodable,
        SourceDied,
    )
}


def error_for(fault: Fault, reason: str) -> IngestError:
    """The error that stands for a fault reported by a camera's process; an ended stream becomes SourceUnreachable."""
    return _BY_FAULT.get(fault, SourceUnreachable)(reason)
