"""What a server is told when it starts; each field is a flag of `limner serve`.

Nothing here is read from a request. Others build on it: `app.create_app` reads these and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field

from limner.config import Frozen

MODEL = "glide-emoji"  # in the box, draws whatever it is asked for


def data_folder() -> Path:
    """Where a server keeps its jobs and pictures when it is not told otherwise."""
    return Path(platformdirs.user_data_dir("limner")) / "server"


class ServeSettings(Frozen):
    """One server."""

    host: str = "127.0.0.1"  # who may reach it; 0.0.0.0 is everybody in the network
    port: int = Field(8000, ge=0, le=65535)  # 0 = any free one
    public_url: str | None = Field(None, pattern=r"^https?://[^/\s]\S*$")  # for links; None = as clients addressed it
    data: Path = Field(default_factory=data_folder)  # jobs, pictures, keys
    models: tuple[Path, ...] = ()  # checkpoint folders served beside those known by name
    model: str = MODEL  # draws what is asked of dall-e-2, dall-e-3 and gpt-image-1
    aliases: dict[str, str] = Field(default_factory=dict)  # another model for one of these names
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    memory_mb: int = Field(4096, ge=1)  # of loaded models; the least recently used goes
    replicas: int | None = Field(None, ge=1, le=1024)  # processes that draw, on Ray Serve; None = this one does
    bound: int = Field(200, ge=1)  # jobs that may wait; more are answered 429
    batch: int = Field(8, ge=1)  # pictures drawn together
    longest_s: float = Field(540, gt=0)  # a request without a stream that would wait longer is answered 503 at once
    heartbeat_s: float = Field(10, gt=0)  # between signs of life of a stream
    links_s: int = Field(3600, ge=1)  # how long the url of a picture works
    upload_mb: int = Field(50, ge=1)  # of one uploaded picture; a request carries twice this
    keys_required: bool = False  # False: every key is good
    cors_origins: tuple[str, ...] = ()  # web pages of other origins that may call it
    allowed_hosts: tuple[str, ...] = ()  # further names it answers to; "*" is any
    requests_a_minute: int | None = Field(None, ge=1)  # of each key, or of each address without one
    pictures_a_minute: int | None = Field(None, ge=1)
    policy: Path | None = None  # rules of what is not drawn; None = limner's own
    classifier: str | None = None  # of pictures: opennsfw, or module:function; None = pictures are not looked at
