"""Draw docs/gallery.md anew: `python benchmarks/gallery.py`. The prompts are fixed in gallery_prompts.json beside this file.

`--choose SOURCE` draws the lot again for another training set; nothing else ever changes the prompts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from limner import catalog, weights
from limner.config import dump
from limner.data.emoji import open_emoji
from limner.errors import LimnerError
from limner.evaluation import gallery, gallery_page
from limner.systems import glide

HERE = Path(__file__).parent
PROMPTS = HERE / "gallery_prompts.json"
NOTES = HERE / "gallery_notes.md"  # what works and what does not, in words


def main() -> int:
    """Parse the command line and make the page."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--icons", default="glide-emoji", help="model that draws icons: a name or a folder")
    options.add_argument("--scenes", default="glide-shapes", help="model that draws scenes: a name or a folder")
    options.add_argument("--out", type=Path, default=HERE.parent / "docs", help="folder of the page")
    options.add_argument("--choose", metavar="SOURCE", help='draw the lot again from "emoji:FOLDER?..." and stop')
    asked = options.parse_args()
    try:
        if asked.choose:
            PROMPTS.write_text(dump(gallery.choose(open_emoji(asked.choose.removeprefix("emoji:")))), encoding="utf-8")
            print(PROMPTS)
            return 0
        icons, scenes = (glide.open_folder(weights.read_folder(catalog.find(name))) for name in (asked.icons, asked.scenes))
        notes = NOTES.read_text(encoding="utf-8") if NOTES.exists() else ""
        page = gallery_page.make(
            icons,
            scenes,
            gallery.read(PROMPTS),
            asked.out,
            notes=notes,
            command="python benchmarks/gallery.py",
            progress=lambda text: print(f"drawing {text}", file=sys.stderr),
        )
    except LimnerError as error:
        print(f"gallery: {error}", file=sys.stderr)
        return error.exit_code
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
