"""Training: one loop for every system. `train` runs or continues a run; `export` makes a checkpoint of finished ones."""

from limner.training.exporting import export
from limner.training.session import train

__all__ = ["export", "train"]
