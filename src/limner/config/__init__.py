"""Frozen, typed settings: what a network, a stage and a system are made of.

Presets are TOML for people (`presets/*.toml`, may say `extends = "name"`); checkpoints hold the same settings fully
expanded as `config.json`. Overrides are dotted paths: `stages.0.sampling.steps=27`. Training settings live here too,
because a preset carries both. Nothing here imports torch.
"""

from limner.config.autoencoders import DiscreteDecoderSettings, DiscreteEncoderSettings, LatentVAESettings, VqganSettings
from limner.config.clip import (
    CaptionerSettings,
    ClipSettings,
    NoisedClipSettings,
    ResnetSettings,
    TextTowerSettings,
    VitSettings,
)
from limner.config.networks import ClassifierSettings, NetworkSettings, TextSettings, UNetSettings
from limner.config.preset_files import load_preset, presets
from limner.config.settings import Frozen, dump, overridden, parse
from limner.config.systems import (
    DiffusionSettings,
    EraseSettings,
    PartSettings,
    Preset,
    SamplerName,
    SamplingSettings,
    StageSettings,
    SystemSettings,
    TrainSettings,
)
from limner.config.token_models import BartDecoderSettings, BartEncoderSettings, T5Settings, TokenModelSettings
from limner.config.unclip import PriorSettings, StatisticsSettings, TextProjectionSettings

__all__ = [
    "BartDecoderSettings",
    "BartEncoderSettings",
    "CaptionerSettings",
    "ClassifierSettings",
    "ClipSettings",
    "DiffusionSettings",
    "DiscreteDecoderSettings",
    "DiscreteEncoderSettings",
    "EraseSettings",
    "Frozen",
    "LatentVAESettings",
    "NetworkSettings",
    "NoisedClipSettings",
    "PartSettings",
    "Preset",
    "PriorSettings",
    "ResnetSettings",
    "SamplerName",
    "SamplingSettings",
    "StageSettings",
    "StatisticsSettings",
    "SystemSettings",
    "T5Settings",
    "TextProjectionSettings",
    "TextSettings",
    "TextTowerSettings",
    "TokenModelSettings",
    "TrainSettings",
    "UNetSettings",
    "VitSettings",
    "VqganSettings",
    "dump",
    "load_preset",
    "overridden",
    "parse",
    "presets",
]
