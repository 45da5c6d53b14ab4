"""docs/checkpoints.md from the catalog of released files: python -m limner.cli.checkpoints > docs/checkpoints.md."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby

from limner import released
from limner.released import File, Model

HEAD = """# Released checkpoints

Written by `make docs` from the catalog (`src/limner/released.toml`); do not edit it here.

Every file of the lineage that was released, what it can do here, and what it may be used for. One command fetches a model,
checks it, and puts it among the models:

```sh
limner models pull clip-vit-b-32
```

Files that are here already, whatever they are called, need no network:

```sh
limner convert base.pt upsample.pt --out glide --name glide
```

`--name` brings the flags that were published with a model: files of the same shapes can want different ones (a
noise schedule, a number of steps). Without it, what the shapes do not show is what was published for files of such shapes.

```sh
limner export glide --layout official --out files
```

gives the original files back: the same keys, shapes, types and numbers. Files that held whole modules or TorchScript
(CLIP, the dVAE, the consistency decoder) come back as plain dictionaries of tensors under the same keys.

Nothing in a file is run: pickles are read by a machine that can make tensors and plain containers and nothing else.

Downloads lie in the platform's cache folder, or in `$LIMNER_CACHE`, until the model is made of them (`--keep` keeps them).
They go on where they stopped, are checked against the hash that was published (else against that of the first download,
which is shown), use the proxies of the environment, and come from `$LIMNER_MIRROR/host/path` when that is set. `--offline`
or `LIMNER_OFFLINE=1` asks nobody. Models of Hugging Face repositories need `pip install 'limner[hub]'`.

Memory is that of the weights in float32; drawing needs more beside it (`limner doctor --model NAME`). Sizes of files are those
of their numbers in float32; a file in half precision is half as large.
"""


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    for source, models in groupby(released.models().values(), key=lambda model: model.source):
        parts.append("\n".join(_family(source, list(models))))
    parts.append("\n".join(_hashes()))
    return "\n".join(parts).rstrip() + "\n"


def _family(source: str, models: list[Model]) -> Iterator[str]:
    first = models[0]
    yield f"## {source}\n\nLicence: {first.licence}. {first.limits}\n"
    yield "| model | what it is | can | cannot | files | memory | command |\n|---|---|---|---|---|---|---|"
    for model in models:
        files = ", ".join(f"{_linked(file)} ({_size(file.size)})" for file in model.files)
        cells = (model.name, model.summary, model.can, model.cannot or "-", files, _size(model.memory))
        yield f"| {' | '.join(cells)} | `limner models pull {model.name}` |"
    yield ""


def _hashes() -> Iterator[str]:
    """The published hashes; those of the other files are recorded when they are first fetched."""
    yield "## Published hashes\n\nOf the other files none was published.\n\n| file | SHA-256 |\n|---|---|"
    for file in dict.fromkeys(file for model in released.models().values() for file in model.files if file.sha256):
        yield f"| {file.local} | `{file.sha256}` |"


def _linked(file: File) -> str:
    address = file.address or f"https://huggingface.co/{file.hub}/blob/main/{file.name}"
    return f"[{file.local}]({address})"


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB" if count >= 2**20 else f"{count} bytes"


if __name__ == "__main__":
    sys.stdout.write(markdown())
