"""What can go wrong in this room. Every message is one line: what, where, how to mend it."""


class ReasonerError(Exception):
    """Base of this room's errors."""


class ModelIncomplete(ReasonerError, FileNotFoundError):
    """A model folder lacks a file, or one of its files is cut short."""


class ModelUnsupported(ReasonerError, ValueError):
    """A model of a family that is not served, or a setting that the model cannot follow."""


class ModelFailed(ReasonerError, RuntimeError):
    """The model could not be loaded or did not finish: out of memory, a broken device, numbers that are none, or a
    process that died or hung twice."""


class PictureUnreadable(ReasonerError, ValueError):
    """A stored frame is no picture, or a window has no frame at all."""


class PromptMismatch(ReasonerError, ValueError):
    """A prompt does not hold as many placeholders as there are pictures."""


class ServerUnavailable(ReasonerError, ConnectionError):
    """The model server cannot be reached; trying again later may help."""


class ServerTimeout(ReasonerError, TimeoutError):
    """The model server did not answer in time; trying again later may help."""


class ServerRefused(ReasonerError, RuntimeError):
    """The model server answered, but not with a completion."""


class VideoUnreadable(ReasonerError, ValueError):
    """A file is no video that can be decoded."""
