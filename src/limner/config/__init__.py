"""Frozen, typed settings: what a network, a stage and a system are made of.

Presets are TOML for people (`presets/*.toml`, may say `extends = "name"`); checkpoints hold the same settings fully
expanded as `config.json`. Overrides are dotted paths: `stages.0.sampling.steps=27`. Training settings live here too,
because a preset carries both. Nothing here imports torch.
"""

from limner.config.networks import NetworkSettings, TextSettings, UNetSettings
from limner.config.preset_files import load_preset, presets
from limner.config.settings import Frozen, dump, overridden, parse
from limner.config.systems import (
    DiffusionSettings,
    PartSettings,
    Preset,
    SamplerName,
    SamplingSettings,
    StageSettings,
    SystemSettings,
    TrainSettings,
)

__all__ = [
    "DiffusionSettings",
    "Frozen",
    "NetworkSettings",
    "PartSettings",
    "Preset",
    "SamplerName",
    "SamplingSettings",
    "StageSettings",
    "SystemSettings",
    "TextSettings",
    "TrainSettings",
    "UNetSettings",
    "dump",
    "load_preset",
    "overridden",
    "parse",
    "presets",
]
