"""What can go wrong because of an input, as one tree.

    IsdmError                   everything a user can mend; the command line prints it without a traceback
    ├── ConfigError             an option: unknown key, value out of range, options that do not go together
    │   └── UsageError          such an option on the command line: wrong usage, exit code 2
    ├── DataError               a dataset: missing mask, sizes that differ, undeclared class, unreadable image
    ├── ModelError              a model folder or checkpoint that cannot be used
    ├── OutputError             an output folder that holds something else
    └── WeightsUnavailableError pretrained weights that can neither be found nor fetched

A message states the value, the rule and the remedy in one to three lines. Programmers' mistakes are
assertions, not members of this tree.
"""

from collections.abc import Iterable


class IsdmError(Exception):
    """Base of all errors that a user of isdm can mend."""


class ConfigError(IsdmError):
    """An option is unknown, out of range or contradicts another.

    `keys` are the options at fault, outermost names alone; empty where they cannot be told, as in a contradiction.
    """

    def __init__(self, message: str, keys: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.keys = frozenset(keys)


class UsageError(ConfigError):
    """A command was given an option that is wrong by itself or contradicts another: wrong usage."""


class DataError(IsdmError):
    """A dataset, an image or a mask breaks a rule."""


class ModelError(IsdmError):
    """A model folder or a checkpoint cannot be used."""


class OutputError(IsdmError):
    """An output folder holds something that must not be overwritten."""


class WeightsUnavailableError(IsdmError):
    """Pretrained weights can neither be found on disk nor fetched."""
