"""What can go wrong in the coarse stage.

DetectorError
├── ModelFolderError   (ValueError)    a model folder is missing, incomplete or not ours
├── EngineUnavailable  (RuntimeError)  the wanted engine cannot run on this machine
├── EngineMismatch     (ValueError)    names, dtypes or shapes differ from what the engine serves
├── EngineClosed       (RuntimeError)  an engine was called after `close()`
├── RuleNotServed      (ValueError)    the model was not trained for the rule's category
├── TrainingError      (ValueError)    a training cannot start or go on as asked
└── ExportError        (ValueError)    a model cannot be written as asked

Each message is one line: what, where, and how to mend it. The builtin bases let a caller decide between
"again" and "hopeless" without knowing this module.
"""


class DetectorError(Exception):
    """Base of everything that this room raises on purpose."""


class ModelFolderError(DetectorError, ValueError):
    """Raised while a model folder is read."""


class EngineUnavailable(DetectorError, RuntimeError):
    """Raised while an engine is chosen, and by a call that its device does not serve any more."""


class EngineMismatch(DetectorError, ValueError):
    """Raised while an engine loads its files, and when it is called with something it does not take."""


class EngineClosed(DetectorError, RuntimeError):
    """Raised by every call after `close()`."""


class RuleNotServed(DetectorError, ValueError):
    """Raised while rules are bound to a model."""


class TrainingError(DetectorError, ValueError):
    """Raised by training."""


class ExportError(DetectorError, ValueError):
    """Raised while a model is exported, quantised or compiled."""
