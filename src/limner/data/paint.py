"""Colours by name: what an icon's main colour is called, and how to give the icon another one.

An icon is recoloured where its main colour is: those pixels take the new hue, their lightness moves towards the new
colour's and keeps its shading; eyes, outlines and other colours stay. Scenes are decided in compose.py.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (222, 38, 46),
    "orange": (246, 128, 28),
    "yellow": (252, 208, 52),
    "green": (54, 168, 76),
    "blue": (40, 108, 226),
    "purple": (136, 72, 196),
    "pink": (248, 132, 190),
    "brown": (132, 84, 54),
    "black": (44, 44, 50),
    "grey": (146, 148, 154),
    "white": (244, 244, 246),
}
GROUNDS: dict[str, tuple[int, int, int]] = COLOURS | {
    "black": (12, 12, 14),
    "light blue": (164, 212, 250),
    "dark blue": (22, 42, 104),
    "light green": (176, 230, 168),
    "dark green": (18, 80, 44),
    "beige": (240, 226, 200),
    "turquoise": (64, 206, 200),
}
# What else goes by these names in the art: the yellow of faces is almost orange, the blue of buttons almost cyan.
ALSO: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("red", (238, 64, 72)),
    ("red", (176, 26, 44)),
    ("orange", (238, 140, 62)),
    ("yellow", (255, 182, 54)),
    ("yellow", (255, 224, 130)),
    ("green", (134, 214, 44)),
    ("green", (0, 208, 110)),
    ("green", (24, 100, 60)),
    ("blue", (0, 166, 238)),
    ("blue", (124, 200, 250)),
    ("blue", (30, 70, 150)),
    ("purple", (196, 150, 246)),
    ("pink", (250, 20, 142)),
    ("pink", (250, 170, 200)),
    ("brown", (166, 114, 82)),
    ("brown", (100, 66, 56)),
    ("grey", (190, 190, 194)),
    ("grey", (96, 98, 104)),
)
NAMED = tuple((word, np.array(rgb) / 255) for word, rgb in (*COLOURS.items(), *ALSO))
# Luma weights of BT.601 and two axes across them: a plane in which hue is an angle and chroma a length.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
AXES = np.array([[0.5957, -0.2745, -0.3213], [0.2115, -0.5226, 0.3111]], np.float32)  # NTSC I and Q
CHROMATIC = 0.10  # length in that plane from which a pixel has a colour of its own
WINDOW = math.radians(38)  # how far from the main hue a pixel still belongs to it
CLOSE = math.radians(22)  # and how far it may be to be called by the same name
SHARE = 0.42  # of the opaque area that must have the main colour
WORD_DISTANCE = 0.15  # how near a main colour must be to a named one to be called so
CLEAR = 0.02  # and how much farther the next name must be


class Paint(NamedTuple):
    """The main colour of an icon: has it a hue or only a lightness; the hue's direction; mean chroma and luma; its name."""

    kind: Literal["hue", "grey"]
    direction: tuple[float, float]
    chroma: float
    luma: float
    word: str  # "" when no name fits well


def main_colour(icon: NDArray[np.uint8]) -> Paint | None:
    """The colour that rules an icon; None when no colour does.

    Shapes: icon [S S 4] premultiplied; a small version is enough.
    """
    rgb, alpha = straight(icon)
    weight = alpha.reshape(-1) / max(float(alpha.sum()), 1e-6)
    flat = rgb.reshape(-1, 3)
    luma, plane = flat @ LUMA, flat @ AXES.T
    length = np.hypot(plane[:, 0], plane[:, 1])
    coloured = length > CHROMATIC
    angle = np.arctan2(plane[:, 1], plane[:, 0])
    bins = np.bincount(((angle[coloured] / (2 * math.pi)) % 1 * 36).astype(int) % 36, weight[coloured], 36)
    wide = sum((4 - abs(shift)) * np.roll(bins, shift) for shift in range(-3, 4))
    middle = (int(np.argmax(wide)) + 0.5) * 2 * math.pi / 36
    near = coloured & (np.abs((angle - middle + math.pi) % (2 * math.pi) - math.pi) < WINDOW)
    grey = ~coloured & (luma > 0.25)
    if weight[near].sum() >= SHARE:
        mean = np.average(plane[near], axis=0, weights=weight[near])
        chroma, light = float(np.hypot(*mean)), float(np.average(luma[near], weights=weight[near]))
        direction = float(mean[0]) / chroma, float(mean[1]) / chroma
        # Red beside yellow is not orange: the name needs most of it close to the mean.
        close = near & (np.abs((angle - math.atan2(mean[1], mean[0]) + math.pi) % (2 * math.pi) - math.pi) < CLOSE)
        one = weight[close].sum() >= 0.7 * weight[near].sum()
        word = name(np.average(flat[near], axis=0, weights=weight[near])) if one else ""
        return Paint("hue", direction, chroma, light, word)
    if weight[grey].sum() >= SHARE + 0.1:
        light = float(np.average(luma[grey], weights=weight[grey]))
        return Paint("grey", (0.0, 0.0), 0.0, light, name(np.average(flat[grey], axis=0, weights=weight[grey])))
    return None


def name(rgb: NDArray[np.float64]) -> str:
    """The word for a colour; "" when it lies between the named ones. Shapes: [3]; Units: [0, 1]."""
    nearest: dict[str, float] = {}
    for word, anchor in NAMED:
        nearest[word] = min(_distance(rgb, anchor), nearest.get(word, math.inf))
    first, second = sorted(nearest, key=lambda word: nearest[word])[:2]
    return first if nearest[first] < WORD_DISTANCE and nearest[second] - nearest[first] > CLEAR else ""


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """How different two colours look: luma counts half as much as chroma."""
    return float(np.hypot(0.5 * (a - b) @ LUMA, np.hypot(*(AXES @ (a - b)))))


def recolour(icon: NDArray[np.uint8], paint: Paint, colour: str) -> NDArray[np.uint8]:
    """The icon with its main colour changed to a named one. Shapes: [S S 4] -> [S S 4], premultiplied."""
    target = np.array(COLOURS[colour], np.float32) / 255
    rgb, alpha = straight(icon)
    luma = rgb @ LUMA
    p, q = rgb @ AXES[0], rgb @ AXES[1]
    if paint.kind == "hue":
        along = p * np.float32(paint.direction[0]) + q * np.float32(paint.direction[1])
        across = np.abs(q * np.float32(paint.direction[0]) - p * np.float32(paint.direction[1]))
        # 1 well inside the wedge around the main hue, 0 outside it, with a soft edge.
        mine = np.clip((along * np.float32(math.tan(WINDOW)) - across) / 0.05, 0, 1)
        strength = np.clip(along / np.float32(paint.chroma), 0, 1.25)
    else:
        mine = np.clip((CHROMATIC * 1.2 - np.hypot(p, q)) / 0.04, 0, 1)
        strength = np.ones_like(luma)
    light = float(target @ LUMA)
    # A power keeps black black and white white while it moves the main lightness most of the way to the new one,
    # and nearly all the way where lightness is all there is to the new colour.
    way = 0.96 if colour in ("black", "white") else 0.8
    goal = min(max((1 - way) * paint.luma + way * light, 0.08), 0.94)
    if colour == "black" or (paint.kind == "grey" and goal < paint.luma):
        shaded = luma * np.float32(min(goal / paint.luma, 1))  # a white snowman has to leave white
    else:
        power = math.log(goal) / math.log(min(max(paint.luma, 0.05), 0.95))
        shaded = np.power(np.clip(luma, 1e-3, 1), np.float32(min(max(power, 0.2), 5.0)))
    room = np.minimum(shaded / light, (1 - shaded) / max(1 - light, 0.02))  # chroma fades towards black and white
    fresh = shaded[..., None] + (strength * room)[..., None] * (target - np.float32(light))
    mixed = rgb + mine[..., None] * (np.clip(fresh, 0, 1) - rgb)
    painted = np.rint(mixed * alpha[..., None] * 255).astype(np.uint8)
    return np.concatenate([np.minimum(painted, icon[..., 3:]), icon[..., 3:]], axis=-1)


def straight(icon: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour without its alpha, and the alpha. Shapes: [S S 4] -> [S S 3], [S S]; Units: [0, 1]."""
    unit = np.float32(1 / 255)
    scaled: NDArray[np.float32] = np.multiply(icon, unit, dtype=np.float32)
    alpha = scaled[..., 3]
    rgb = scaled[..., :3] / np.maximum(alpha, unit)[..., None]
    return np.minimum(rgb, np.float32(1)), alpha
