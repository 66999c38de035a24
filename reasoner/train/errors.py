"""What can go wrong in training."""

from reasoner.errors import ReasonerError


class TrainError(ReasonerError):
    """Any failure of training."""


class BadClips(TrainError, ValueError):
    """A folder of clips that cannot be trained on."""


class BadCheckpoint(TrainError, ValueError):
    """A checkpoint that does not belong to this configuration."""
