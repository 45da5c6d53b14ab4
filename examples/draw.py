"""Draw pictures and look at the recipe one of them carries."""

import limner

pipe = limner.load("glide-emoji")
pictures = pipe("a red fox", n=2, seed=0)
for picture in pictures:
    print(picture.save("{seed}-{slug}-{i}.png"))
print(pictures[0].recipe.model_dump_json(indent=2))
