"""What can go wrong between a verdict and the people who need it.

AlertsError
├── AlertInvalid (ValueError)            a record that breaks a rule of alert/1.0
├── StoreError
│   ├── StoreUnusable (ValueError)       damaged, foreign or newer database
│   ├── StoreBusy (BlockingIOError)      another process writes to this data folder
│   ├── StoreMissing (FileNotFoundError) nothing has been stored here yet
│   ├── StoreFull (OSError)              no room for evidence or rows
│   ├── EvidenceLost (FileNotFoundError) a window's evidence is gone or damaged
│   ├── UnknownRecord (LookupError)      no such window or alert
│   ├── WindowEnded (ValueError)         the window already has its outcome
│   └── RevisionConflict (ValueError)    somebody else wrote the next revision first
├── BusError
│   ├── BusUnavailable (ConnectionError) no broker now; trying again later may help
│   ├── BusDenied (PermissionError)      the broker refuses us; somebody must change a permission
│   └── MessageTooLarge (ValueError)     this record will never be accepted
└── PictureUnreadable (ValueError)       stored bytes that are no picture
"""


class AlertsError(Exception):
    """Base of every error of this room; its text is one line: what, where, how to mend it."""


class AlertInvalid(AlertsError, ValueError):
    """An alert that breaks a rule of alert/1.0."""


class StoreError(AlertsError):
    """The store cannot do what was asked."""


class StoreUnusable(StoreError, ValueError):
    """The database is damaged, belongs to another program or to a newer Witness."""


class StoreBusy(StoreError, BlockingIOError):
    """Another process writes to this data folder."""


class StoreMissing(StoreError, FileNotFoundError):
    """A read-only open found no store."""


class StoreFull(StoreError, OSError):
    """No room on the disk, or the spool's bound is reached."""


class EvidenceLost(StoreError, FileNotFoundError):
    """The evidence of a window is not there, or not what was stored."""


class UnknownRecord(StoreError, LookupError):
    """No window or alert has this id."""


class WindowEnded(StoreError, ValueError):
    """A window ends once; this one already did."""


class RevisionConflict(StoreError, ValueError):
    """The revision does not follow the stored one; read the latest alert and decide again."""


class BusError(AlertsError):
    """The message bus did not take a record."""


class BusUnavailable(BusError, ConnectionError):
    """No broker answers, or it did not acknowledge; the record stays in the outbox."""


class BusDenied(BusError, PermissionError):
    """The broker refuses this client or this topic; the record stays in the outbox."""


class MessageTooLarge(BusError, ValueError):
    """The record is larger than the broker will ever take."""


class PictureUnreadable(AlertsError, ValueError):
    """Stored bytes cannot be decoded as a picture."""
