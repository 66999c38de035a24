"""What can go wrong in training."""

from reasoner.errors import ReasonerError


class TrainError(ReasonerError):
    """Any failure of training."""


class BadClips(TrainError, ValueError):
    """A folder of clips that cannot be trained on."""


class BadCheckpoint(TrainError, ValueError):
    """A checkpoint that does not belong to this configuration."""


class BadRows(TrainError, ValueError):
    """Training rows with mistakes: which row, which field, how to mend it."""


class PartMissing(TrainError, ModuleNotFoundError):
    """A library of the extra `train` is not installed."""


class TrainFailed(TrainError, RuntimeError):
    """A training that cannot go on or left nothing behind."""
