"""Requests that no well-behaved program sends: mutated bodies, lying files, odd headers, tricks with paths, broken HTTP.

Every request is made from a random generator alone, so number N of a seed is the same again. What sends them and judges the
answers is `fuzz_server.py`.
"""

from __future__ import annotations

import io
import json
import random
import string
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from PIL import Image, PngImagePlugin


class Sent(NamedTuple):
    """One request as bytes."""

    family: str
    data: bytes  # head and body
    broken: bool = False  # it is no HTTP, so a closed connection is an answer
    hang_up: float | None = None  # seconds after which the client goes away without reading further
    parts: int = 1  # pieces it is sent in


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X" * 40)
PATHS = (
    *("/", "/v1", "/v1/", "/v1/models", "/v1/models/", "/v1/models/tiny", "/v1/images", "/v1/images/generations"),
    *("/v1/images/edits", "/v1/images/variations", "/images/generations", "/jobs", "/jobs/", "/healthz", "/readyz", "/metrics"),
    *("/openapi.json", "/docs", "/files/", "/files/x", "/studio", "/favicon.ico"),
)
TRICKS = (
    *("/files/../../../etc/passwd", "/files/..%2f..%2f..%2fetc%2fpasswd", "/files/%2e%2e/%2e%2e/limner.sqlite", "/files/%00"),
    *("/files/....//....//keys.sqlite", "/v1/models/..%5c..%5cwindows", "/v1/models/%2e%2e%2f%2e%2e", "/v1/models/%ff%fe"),
    *("//v1//models", "/v1/../v1/models", "/v1/models/" + "a" * 4000, "/jobs/" + "0" * 32, "/jobs/%0d%0aSet-Cookie:x", "/%"),
    *(
        "/files/x?e=9999999999&s=" + "A" * 43,
        "/files/x?e=nan&s=",
        "/files/x?e=1e999&s=%00",
        "/jobs?limit=-1",
        "/jobs?limit=9" * 3,
    ),
    *(
        "/jobs?state=' OR 1=1--",
        "/jobs/' OR '1'='1",
        "/jobs/x/events?after=99999999999999999999",
        "/v1/models/..;/",
        "/v1/models?%ff",
    ),
)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 11, 1.5, -0.0, 1e308, 1e-320, 2**31, 2**63, -(2**63) - 1, 10**30, "", " ", "0", "-1"),
    *(
        "null",
        "256x256",
        "0x0",
        "99999x1",
        "16x16",
        "1x1",
        "-5x5",
        "1024X1024",
        "axb",
        "ａ",
        "\x00",
        "\ud800",
        "\u202e abc",
        "'",
    ),
    *(
        "../../etc/passwd",
        "%s%n%x",
        "${jndi:ldap://x}",
        "<script>alert(1)</script>",
        "tiny",
        "dall-e-2",
        "dall-e-3",
        "gpt-image-1",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        {"a": {"b": {"c": []}}},
        [1] * 1000,
        "x" * 1001,
        "x" * 40_000,
        "🦊" * 500,
        "a\nb\r\nc: d",
        "\x1b[2J",
    ),
)
FIELDS = (
    *(
        "model",
        "prompt",
        "n",
        "size",
        "quality",
        "response_format",
        "style",
        "background",
        "output_format",
        "output_compression",
    ),
    *("moderation", "stream", "partial_images", "user", "safety_identifier", "seed", "steps", "guidance", "guidance_scale"),
    *("sampler", "negative_prompt", "strength", "soft", "stream_options", "svg", "complexity", "frame_count", "input_fidelity"),
    *("verb", "width", "height", "margins", "keep", "previews", "negative", "extra", "__proto__", "constructor", ""),
)


def make(number: int, seed: int) -> Sent:
    """Request `number` of a seed."""
    dice = random.Random(f"{seed}:{number}")
    family = dice.choices(list(FAMILIES), [weight for weight, _ in FAMILIES.values()])[0]
    return FAMILIES[family][1](dice)._replace(family=family)


def head(method: str, path: str, headers: list[tuple[str, bytes | str]], length: int | None) -> bytes:
    """The head of a request; Host is the server's own unless given."""
    lines = [f"{method} {path} HTTP/1.1".encode("utf-8", "replace")]
    names = {name.lower() for name, _ in headers}
    every: list[tuple[str, bytes | str]] = [*headers]
    every += [] if "host" in names else [("Host", "127.0.0.1")]
    every += [] if length is None or "content-length" in names else [("Content-Length", str(length))]
    every += [] if "connection" in names else [("Connection", "close")]
    for name, value in every:
        raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
        lines.append(name.encode("utf-8", "replace") + b": " + raw)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _json(dice: random.Random) -> Sent:
    """A JSON body with some of its fields odd."""
    path = dice.choice(("/v1/images/generations", "/v1/images/generations", "/images/generations", "/jobs"))
    body: dict[str, Any] = {"model": "tiny", "prompt": "a red fox", "seed": dice.randrange(9), "steps": 1}
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        body[dice.choice(FIELDS)] = dice.choice(ODD)
    if dice.random() < 0.1:
        body.pop("prompt", None)
    return _posted(dice, path, json.dumps(body).encode("utf-8", "surrogatepass"))


def _valid(dice: random.Random) -> Sent:
    """What a program would send, so that drawing goes on between the others; sometimes the client goes away."""
    body: dict[str, Any] = {"model": "tiny", "prompt": dice.choice(("a fox", "🦊", "", "x" * 900)), "steps": 1}
    body |= {"n": dice.choice((1, 1, 1, 2)), "response_format": dice.choice(("b64_json", "url")), "seed": dice.randrange(5)}
    if dice.random() < 0.5:
        body |= {"stream": True, "partial_images": dice.randrange(4), "response_format": "b64_json"}
    sent = _posted(dice, "/v1/images/generations", json.dumps(body).encode())
    return sent._replace(hang_up=dice.uniform(0, 0.2) if dice.random() < 0.4 else None)


def _not_json(dice: random.Random) -> Sent:
    """A body that says it is JSON."""
    good = json.dumps({"model": "tiny", "prompt": "a fox", "steps": 1}).encode()
    at = dice.randrange(len(good))
    bodies: tuple[Callable[[], bytes], ...] = (
        lambda: good[:at],
        lambda: good[:at] + bytes([dice.randrange(256)]) + good[at + 1 :],
        lambda: dice.randbytes(dice.randrange(1, 2000)),
        lambda: b"[" * dice.choice((10, 1000, 100_000)),
        lambda: b'{"a":' * 50_000,
        lambda: b'{"prompt": "\xff\xfe\xc0\x80"}',
        lambda: b'{"prompt": "\\ud800", "model": "tiny", "steps": 1}',
        lambda: b"\xef\xbb\xbf" + good,
        lambda: good.decode().encode("utf-16"),
        lambda: b'{"n": ' + b"9" * dice.choice((100, 5000, 500_000)) + b', "prompt": "x"}',
        lambda: b'{"guidance": NaN, "prompt": "x"}',
        lambda: b'{"guidance": 1e99999, "prompt": "x"}',
        lambda: b'{"prompt": "a", "prompt": 7}',
        lambda: b'"' + b"x" * 900_000 + b'"',
        lambda: b"[" + b"[]," * 300_000 + b"[]]",
        lambda: b" " * 2_000_000,
        lambda: dice.choice((b"", b"null", b"true", b"0", b"[]", b'""', b"\x00", b"{}", b"NaN", b"{'a': 1}")),
    )
    return _posted(dice, dice.choice(("/v1/images/generations", "/jobs")), dice.choice(bodies)())


def _form(dice: random.Random) -> Sent:
    """A form with pictures that are not what they seem."""
    path = dice.choice(("/v1/images/edits", "/v1/images/edits", "/v1/images/variations", "/jobs"))
    boundary = dice.choice((b"limner", b"limner", b"x" * 70, b"'()+_,-./:=?"))
    fields: list[tuple[bytes, bytes]] = [(b"prompt", b"a red fox"), (b"model", b"tiny"), (b"steps", b"1")]
    if path == "/jobs":
        order = {"model": "tiny", "prompt": "x", "steps": "1", "verb": dice.choice(("edit", "sketch", "upscale", "outpaint"))}
        fields = [(b"order", json.dumps(order).encode())]
    for _ in range(dice.choice((0, 0, 1, 2))):
        fields.append((dice.choice(FIELDS).encode(), str(dice.choice(ODD)).encode("utf-8", "surrogatepass")))
    parts = [b'Content-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value for name, value in fields]
    for _ in range(dice.choice((1, 1, 1, 2, 3, 20))):
        name = dice.choice(
            (b"image", b"image", b"image[]", b"image[0]", b"mask", b"picture", b"markup", b"image[999999999999]")
        )
        file = dice.choice(
            (b"a.png", b"upload", b"../../etc/cron.d/x", b"a\x00.png", b"\xff\xfe", b"C:\\x.png", b"a" * 5000, b"")
        )
        kind = dice.choice((b"image/png", b"application/octet-stream", b"text/html", b"image/svg+xml", b"x" * 300, b""))
        disposition = b'Content-Disposition: form-data; name="' + name + b'"; filename="' + file + b'"'
        parts.append(disposition + b"\r\nContent-Type: " + kind + b"\r\n\r\n" + picture(dice))
    dice.shuffle(parts)
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
    return _wrapped(dice, path, body, boundary)


def _wrapped(dice: random.Random, path: str, body: bytes, boundary: bytes) -> Sent:
    """The form sent, sometimes damaged on the way."""
    told = b"multipart/form-data; boundary=" + boundary
    match dice.randrange(12):
        case 0:
            body = body[: dice.randrange(len(body))]
        case 1:
            told = b"multipart/form-data"
        case 2:
            told = b"multipart/form-data; boundary=other"
        case 3:
            body = body.replace(b"\r\n", b"\n")
        case 4:
            body = body.replace(b"form-data", b"attachment", 1)
        case 5:
            line = b"--" + boundary + b'\r\nContent-Disposition: form-data; name="f"\r\n\r\n1\r\n'
            body = line * dice.choice((10, 100, 5000)) + body
        case 6:
            long = b"X-Long: " + b"y" * dice.choice((100, 10_000, 1_000_000)) + b"\r\n"
            body = body.replace(b"Content-Disposition", long + b"Content-Disposition", 1)
    headers: list[tuple[str, bytes | str]] = [("Content-Type", told)]
    if dice.random() < 0.2:
        return Sent("", head("POST", path, [*headers, ("Transfer-Encoding", "chunked")], None) + chunked(dice, body))
    return Sent("", head("POST", path, headers, len(body)) + body, parts=dice.choice((1, 1, 3)))


def picture(dice: random.Random) -> bytes:
    """A picture, whole or not, or something that looks like one."""
    size = dice.choice(((16, 16), (16, 16), (1, 1), (64, 48), (300, 2)))
    mode = dice.choice(("RGB", "RGBA", "L", "LA", "P", "1", "I;16"))
    kind = dice.choice(("PNG", "PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"))
    good = _encoded(Image.new(mode if kind == "PNG" else "RGB", size, 0), kind, dice)
    at = dice.randrange(1, len(good))
    match dice.randrange(12):
        case 0:
            return good[:at]
        case 1:
            return good[:at] + bytes([good[at] ^ (1 << dice.randrange(8))]) + good[at + 1 :]
        case 2:
            return good[:at] + dice.randbytes(dice.randrange(1, 400)) + good[at:]
        case 3:
            return bomb(*dice.choice(((65_000, 65_000), (30_000, 30_000), (4097, 4097), (2**31 - 1, 1), (0, 5), (5000, 3000))))
        case 4:
            return dice.choice(
                (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP", b"%!PS\n", b"<svg/>")
            )
        case 5:
            return b"\x89PNG\r\n\x1a\n" + dice.randbytes(dice.randrange(1, 3000))
        case 6:
            frames = [Image.new("RGB", (8, 8), (n, n, n)) for n in range(dice.choice((2, 60)))]
            file = io.BytesIO()
            frames[0].save(file, dice.choice(("GIF", "PNG", "WEBP")), save_all=True, append_images=frames[1:])
            return file.getvalue()
        case 7:
            return good + dice.randbytes(dice.choice((10, 100_000)))
    return good


def _encoded(image: Image.Image, kind: str, dice: random.Random) -> bytes:
    file = io.BytesIO()
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "x" * dice.choice((1, 10_000)), zip=True)
    exif = Image.Exif()
    exif[0x0112] = dice.randrange(10)
    image.save(file, kind, **({"pnginfo": text, "exif": exif} if kind == "PNG" else {"exif": exif} if kind == "JPEG" else {}))
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large; its rows are there as far as a megabyte goes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(2**20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _address(dice: random.Random) -> Sent:
    """Any method on any address."""
    path = dice.choice((*PATHS, *TRICKS, *TRICKS)).replace(" ", "%20")
    if dice.random() < 0.2:
        path += "?" + "&".join(f"{dice.choice(FIELDS)}={dice.randrange(10**9)}" for _ in range(dice.randrange(1, 50)))
    body = dice.choice((b"", b"", b"x", b"{}"))
    return Sent("", head(dice.choice(METHODS), path, [], len(body)) + body, broken=True)


def _headers(dice: random.Random) -> Sent:
    """A good request with odd headers."""
    body = b'{"model": "tiny", "prompt": "a fox", "steps": 1}'
    junk = "".join(dice.choices(string.printable.strip(), k=dice.choice((1, 50, 5000))))
    odd: tuple[tuple[str, bytes | str], ...] = (
        *(("Authorization", "Bearer " + junk), ("Authorization", b"Bearer \xff\xfe"), ("Authorization", "Basic " + junk)),
        *(
            ("Content-Type", "application/json; charset=" + junk[:40]),
            ("Content-Type", "text/plain"),
            ("Content-Type", b"\xff"),
        ),
        *(("Content-Length", "-1"), ("Content-Length", "9" * 30), ("Content-Length", "abc"), ("Content-Length", "3")),
        *(("Host", "evil.example"), ("Host", ""), ("Host", "[::1"), ("Host", b"\xff"), ("Origin", "https://evil.example")),
        *(
            ("Origin", "http://["),
            ("Expect", "100-continue"),
            ("Range", "bytes=0-,-1"),
            ("Last-Event-ID", junk),
            ("X-Junk", junk),
        ),
        *(
            ("X-Forwarded-For", junk),
            ("X-Stainless-Read-Timeout", junk),
            ("X-Stainless-Read-Timeout", "1e999"),
            ("Upgrade", "h2c"),
        ),
        *(
            ("X-Request-Id", junk),
            ("Cookie", junk),
            ("Accept-Encoding", junk),
            ("Accept", junk),
            ("Transfer-Encoding", "gzip, x"),
        ),
        *(
            ("X-Stainless-Read-Timeout", "9" * 400),
            ("X" * 70_000, "1"),
            ("Connection", "upgrade"),
            ("Te", "trailers"),
            ("\x00", "1"),
        ),
    )
    chosen = [("Content-Type", "application/json"), *(dice.choice(odd) for _ in range(dice.choice((1, 1, 2, 200))))]
    path = dice.choice(("/v1/images/generations", "/jobs", "/v1/models", "/jobs/0/events"))
    method = "POST" if path in ("/v1/images/generations", "/jobs") else "GET"
    return Sent("", head(method, path, chosen, len(body)) + body, broken=True)


def _chunks(dice: random.Random) -> Sent:
    """A body without a length: too long, or never ending, or of broken chunks."""
    kind = dice.choice(("application/json", "multipart/form-data; boundary=x"))
    body = dice.choice(
        (b" " * 3_000_000, b'{"prompt": "x"}', b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"y" * 3_000_000)
    )
    data = head(
        "POST",
        "/v1/images/edits" if "x" in kind[-1] else "/v1/images/generations",
        [("Content-Type", kind), ("Transfer-Encoding", "chunked")],
        None,
    )
    sent = chunked(dice, body)
    if dice.random() < 0.4:
        sent = dice.choice((b"ZZ\r\n", b"-5\r\nhello\r\n", b"FFFFFFFFFFFFFFFFF\r\n", b"5\r\nhel", sent[: len(sent) // 2]))
    return Sent("", data + sent, broken=True, hang_up=dice.choice((None, 0.05)) if sent.endswith(b"0\r\n\r\n") else 0.2)


def chunked(dice: random.Random, body: bytes) -> bytes:
    """A body in chunks."""
    size = dice.choice((100, 4096, 65_536)) if len(body) < 10**6 else 65_536
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"


def _raw(dice: random.Random) -> Sent:
    """No HTTP at all, or half of it."""
    good = head("GET", "/v1/models", [], None)
    data = dice.choice(
        (
            dice.randbytes(dice.randrange(1, 3000)),
            good[: dice.randrange(len(good))],
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(200),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"\r\n" * 1000,
            good.replace(b"\r\n", b"\n"),
            good.replace(b"Host", b"Host\x00"),
            head("POST", "/jobs", [("Content-Type", "application/json")], 1000) + b"{",
        )
    )
    return Sent("", data, broken=True, hang_up=0.2)


def _posted(dice: random.Random, path: str, body: bytes) -> Sent:
    return Sent(
        "", head("POST", path, [("Content-Type", "application/json")], len(body)) + body, parts=dice.choice((1, 1, 1, 4))
    )


FAMILIES: dict[str, tuple[int, Callable[[random.Random], Sent]]] = {
    "odd fields": (28, _json),
    "no JSON": (14, _not_json),
    "forms and files": (26, _form),
    "addresses and methods": (12, _address),
    "headers": (9, _headers),
    "chunks": (3, _chunks),
    "no HTTP": (3, _raw),
    "valid, sometimes left": (5, _valid),
}
