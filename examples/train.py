"""Train a model of coloured shapes for a few steps, and draw with it. A real training takes hours: raise `steps`."""

from pathlib import Path

import limner

preset = limner.load_preset("glide-shapes", ["training.0.steps=4", "training.0.batch=4", "training.0.sample_every=0"])
run = Path("runs/shapes")
limner.train(preset, "base", run, device="cpu")
model = limner.export(run, Path("my-shapes"))
print(limner.load(model)("a large red circle", seed=0, steps=4)[0].save("circle.png"))
