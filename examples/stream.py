"""Watch a picture come out of the noise, and stop a second one half-way: whoever stops asking has cancelled."""

import limner

pipe = limner.load("glide-emoji")
for item in pipe.stream("a red fox", seed=0):
    if isinstance(item, limner.Image):
        print(item.save("streamed.png"))
    else:
        print(f"{item.stage}: step {item.step} of {item.of}, the network sees values up to {item.preview.max():.2f}")

second = pipe.stream("a blue car", seed=0)
print("first step done:", next(second).step)
second.close()
