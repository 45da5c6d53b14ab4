"""Save a picture, then draw it again from nothing but its file."""

import limner

path = limner.load("glide-emoji")("a red fox", seed=0)[0].save("fox.png")
again = limner.reproduce(path)
print("identical" if again.identical else f"different by up to {again.largest} of 255: {', '.join(again.changed)}")
