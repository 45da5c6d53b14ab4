"""Everything limner raises on purpose.

LimnerError
+-- ConfigError        a setting that does not exist or does not fit      (ValueError)   exit code 2
+-- InputError         a prompt, image, mask or size that cannot be used  (ValueError)   exit code 2
|   +-- ShapeError     a tensor of another shape than promised
+-- DataError          a training set that cannot be read or built                       exit code 4
+-- CheckpointError    missing, extra or misshapen weights; wrong hash                   exit code 3
|   +-- DownloadError  the network or the disk said no
+-- MemoryLimitError   the machine has too little memory for this                        exit code 5
+-- TrainingError      a loss or gradient that is not finite, a resume that cannot fit   exit code 1
+-- UnsupportedError   this system has no such verb; names those that do                 exit code 2

A message says where, what was found, what would fit and what to do, on one line.
"""

from __future__ import annotations


class LimnerError(Exception):
    """Base of all errors a user can cause; `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(LimnerError, ValueError):
    """A setting that does not exist, or whose value does not fit."""

    exit_code = 2


class InputError(LimnerError, ValueError):
    """A prompt, image, mask or size that cannot be used."""

    exit_code = 2


class ShapeError(InputError):
    """A tensor of another shape than the function promises to take."""


class DataError(LimnerError):
    """A data set that cannot be read or built."""

    exit_code = 4


class CheckpointError(LimnerError):
    """Weights that are missing, extra, misshapen, truncated or not what their hash says."""

    exit_code = 3


class DownloadError(CheckpointError):
    """A file that could not be fetched, or not be written."""


class MemoryLimitError(LimnerError):
    """The machine has too little memory for what was asked."""

    exit_code = 5


class TrainingError(LimnerError):
    """Training cannot go on: a value is not finite, or the saved state does not fit the run."""


class UnsupportedError(LimnerError):
    """The system has no such verb; the message names those that have it."""

    exit_code = 2
