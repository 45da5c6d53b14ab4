"""Files that mean harm, or are damaged: each refused in one line; no code runs, no path is written, no memory is filled."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

from limner.errors import CheckpointError
from limner.official import reading
from limner.official.reading import pickles
from tests.official.reading.forged import STOP, archive, legacy, named, safetensors, state, tensor, value

HEAD = b"\x80\x02"
MARK = "marker-of-code-that-ran"
GOOD = state({"w": tensor()})
RUN = named("posix", "system") + b"(" + value(f"touch {MARK}") + b"t"  # the function and its arguments

Make = Callable[[Path], object]
CODE: dict[str, tuple[bytes, str]] = {
    "a call": (HEAD + RUN + b"R" + STOP, "asks for 'posix.system'"),
    "a call inside a tensor": (state({"w": RUN + b"R"}), "asks for 'posix.system'"),
    "a call by INST": (HEAD + b"(" + value(f"touch {MARK}") + b"iposix\nsystem\n" + STOP, "asks for 'posix.system'"),
    "a call by OBJ": (HEAD + b"(" + named("builtins", "eval") + value("1") + b"o" + STOP, "asks for 'builtins.eval'"),
    "a call by NEWOBJ": (HEAD + named("subprocess", "Popen") + b"(" + value([MARK]) + b"t\x81" + STOP, "subprocess.Popen"),
    "a call in protocol 4": (
        b"\x80\x04" + value("posix") + value("system") + b"\x93" + value(MARK) + b"\x85R" + STOP,
        "asks for 'posix.system'",
    ),
    "attributes of a torch class": (
        HEAD + named("torch.storage", "_load_from_bytes") + b"(t" + b"R" + STOP,
        "_load_from_bytes",
    ),
    "a function changed by BUILD": (HEAD + named("collections", "OrderedDict") + value({"x": 1}) + b"b" + STOP, "would change"),
    "a registered extension": (HEAD + b"\x82\x01" + STOP, "instruction EXT1"),
    "buffers from elsewhere": (b"\x80\x05\x97" + STOP, "instruction NEXT_BUFFER"),
    "a call of a value": (HEAD + value("word") + b")R" + STOP, "not a class or function"),
    "a name that is no word": (b"\x80\x04" + value(1) + value(2) + b"\x93" + STOP, "a name is not a word"),
    "a storage from elsewhere": (HEAD + value(("module", "x")) + b"Q" + STOP, "refers to something outside itself"),
}
PICKLES: dict[str, tuple[bytes, str]] = {
    "keys twice": (state([("w", tensor()), ("w", tensor())]), "key 'w' twice"),
    "keys twice in pairs": (
        HEAD + named("collections", "OrderedDict") + b"(" + value([["w", 1], ["w", 2]]) + b"tR" + STOP,
        "key 'w' twice",
    ),
    "a storage that is not there": (state({"w": tensor("9")}), "numbers of tensor '9' are missing"),
    "more numbers than there are": (state({"w": tensor(count=60)}), "should hold 60 numbers"),
    "an offset out of range": (state({"w": tensor(offset=1)}), "leads out of its storage of 6"),
    "a huge offset": (state({"w": tensor(offset=2**62)}), "a tensor of offset 4611686018427387904"),
    "a shape too large": (state({"w": tensor(size=(3, 3))}), "leads out of its storage"),
    "a shape of thousands of axes": (state({"w": tensor(size=[1] * 5000, stride=[1] * 5000)}), "a tensor of offset 0"),
    "a negative stride": (state({"w": tensor(stride=(-3, 1), offset=3)}), r"strides \(-3, 1\)"),
    "strides that overflow": (state({"w": tensor(stride=(2**61, 2**61))}), "leads out of its storage"),
    "a negative size": (state({"w": tensor(size=(-2, 3))}), r"shape \(-2, 3\)"),
    "a tensor blown up by strides of 0": (state({"w": tensor(size=(2**40,), stride=(0,))}), "leads out of its storage"),
    "another count of strides": (state({"w": tensor(stride=(1,))}), "a tensor of offset 0"),
    "a kind of number that is unknown": (state({"w": tensor(kind="QInt8Storage")}), "asks for 'torch.QInt8Storage'"),
    "a tensor without numbers": (
        HEAD + named("torch._utils", "_rebuild_tensor_v2") + b"(" + value((1, 2, 3, 4))[:-1] + b"tR" + STOP,
        "a tensor without numbers|not a whole pickle",
    ),
    "nothing but words": (HEAD + value({"a": "b"}) + STOP, "holds no tensors"),
    "a pickle cut short": (GOOD[:-20], "not a whole pickle"),
    "a word longer than the file": (HEAD + b"\x8d" + struct.pack("<Q", 2**62) + b"x" + STOP, "not a whole pickle"),
    "a number of endless digits": (HEAD + b"\x8b" + struct.pack("<i", 2**30) + STOP, "not a whole pickle"),
    "a line without end": (HEAD + b"c" + b"x" * 100_000 + STOP, "not a whole pickle"),
    "a memo at a far place": (HEAD + value({}) + b"r" + struct.pack("<I", 2**32 - 1) + STOP, "holds no tensors"),
    "items put into a number": (HEAD + value(1) + b"(" + value(2) + b"e" + STOP, "not a list"),
    "keys put into a list": (HEAD + b"](" + value(1) + value(2) + b"u" + STOP, "not a dictionary"),
    "containers nested deep": (HEAD + b"]" + b"\x85" * 30_000 + STOP, "nested beyond"),
    "a tuple as a key nested deep": (HEAD + b"}]" + b"\x85" * 100_000 + b"Ns" + STOP, "holds no tensors"),
    "one container named endless times": (
        HEAD + b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(60)) + STOP,
        "nested beyond",
    ),
}


def one_line(path: Path, match: str) -> None:
    """The file is refused in one line that begins with its name."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointError, match=match) as caught:
            reading.read(path)
    text = str(caught.value)
    assert text.startswith(str(path.parent))
    assert "\n" not in text
    assert len(text) < len(str(path)) + 400


@pytest.fixture(autouse=True)
def _nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield
    assert list(work.iterdir()) == []
    assert not (tmp_path / "escaped").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"work", "x.pt", "parts", "model.safetensors.index.json"}


@pytest.mark.parametrize("name", CODE)
def test_code_in_a_pickle_is_refused_and_does_not_run(name: str, tmp_path: Path) -> None:
    data, match = CODE[name]
    one_line(archive(tmp_path / "x.pt", data), match)


@pytest.mark.parametrize("name", ["a call", "a call inside a tensor", "a function changed by BUILD"])
def test_code_in_an_old_file_is_refused_and_does_not_run(name: str, tmp_path: Path) -> None:
    data, match = CODE[name]
    one_line(legacy(tmp_path / "x.pt", data, [("0", 6, bytes(24))]), match)


def test_the_payload_would_have_run_elsewhere(tmp_path: Path) -> None:
    payload = CODE["a call"][0].replace(MARK.encode(), b"../x.pt" + b" " * (len(MARK) - 7))
    pickle.loads(payload)
    assert (tmp_path / "x.pt").exists()


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_lies_is_refused(name: str, tmp_path: Path) -> None:
    data, match = PICKLES[name]
    one_line(archive(tmp_path / "x.pt", data), match)


def test_a_pickle_of_endless_instructions_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "_OPS", 1000)
    one_line(archive(tmp_path / "x.pt", HEAD + b"N0" * 1000 + b"N" + STOP), "far longer than that of any checkpoint")


def zipped(path: Path, *files: tuple[zipfile.ZipInfo | str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of a name that comes twice
        with zipfile.ZipFile(path, "w", method) as file:
            file.writestr("a/data.pkl", GOOD, zipfile.ZIP_STORED)
            for name, data in files:
                file.writestr(name, data)
    return path


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def patched(path: Path, at: Callable[[bytes], int], new: bytes) -> Path:
    data = bytearray(path.read_bytes())
    start = at(bytes(data))
    data[start : start + len(new)] = new
    path.write_bytes(data)
    return path


def overlapping(path: Path) -> Path:
    """The list of files says that the second file lies where the first lies."""
    zipped(path, ("a/data/0", bytes(24)), ("a/data/1", bytes(24)))
    data = path.read_bytes()
    first = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    second = data.index(b"PK\x01\x02", first + 1)
    return patched(path, lambda _: second + 42, data[first + 42 : first + 46])


def bomb(path: Path) -> Path:
    """24 bytes of numbers are said to be 4 GB of zeros, packed."""
    return zipped(path, ("a/data/0", bytes(2**24)), method=zipfile.ZIP_DEFLATED)


def packed(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", GOOD)


def another(path: Path) -> None:
    with path.open("wb") as file:
        numpy.savez(file, x=numpy.zeros(2))


def told_sizes(path: Path) -> Path:
    """The end of the archive tells of a list of files of 3 GB."""
    zipped(path, ("a/data/0", bytes(24)))
    return patched(path, lambda data: data.rindex(b"PK\x05\x06") + 12, struct.pack("<I", 3 * 2**30))


ARCHIVES: dict[str, tuple[Make, str]] = {
    "a zip bomb": (bomb, "is compressed; torch stores tensors as they are"),
    "files over each other": (overlapping, "lie over each other"),
    "a list of files that lies of its size": (told_sizes, "list of files is said to be"),
    "a path out of the archive": (lambda p: zipped(p, ("../../escaped", b"x")), "leads out of the archive"),
    "a path from the root": (lambda p: zipped(p, ("/tmp/escaped", b"x")), "leads out of the archive"),
    "a path of Windows": (lambda p: zipped(p, ("a\\..\\..\\escaped", b"x")), "leads out of the archive"),
    "a link": (lambda p: zipped(p, (link("a/data/0"), b"/etc/passwd")), "holds the link 'a/data/0'"),
    "a file twice": (lambda p: zipped(p, ("a/data/0", bytes(24)), ("a/data/0", bytes(24))), "file 'a/data/0' twice"),
    "two checkpoints in one": (lambda p: zipped(p, ("b/data.pkl", GOOD)), "no one data.pkl"),
    "another zip": (another, "not one that torch.save writes"),
    "big-endian numbers": (lambda p: zipped(p, ("a/byteorder", b"big")), "not little-endian"),
    "an endless text": (lambda p: zipped(p, ("a/byteorder", bytes(2**23))), "bytes of text; refused"),
    "an encrypted file": (
        lambda p: patched(zipped(p, ("a/data/0", bytes(24))), lambda d: d.rindex(b"PK\x01\x02") + 8, b"\x01"),
        "is encrypted",
    ),
    "a file that is not where it should be": (
        lambda p: patched(zipped(p, ("a/data/0", bytes(24))), lambda d: d.rindex(b"PK\x01\x02") + 42, b"\x07"),
        "is not where the list of files says",
    ),
    "a packed pickle": (packed, "is compressed, which torch never does"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_that_means_harm_is_refused(name: str, tmp_path: Path) -> None:
    make, match = ARCHIVES[name]
    make(tmp_path / "x.pt")
    one_line(tmp_path / "x.pt", match)


def test_a_flood_of_source_in_torchscript_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", HEAD + named("__torch__", "Net") + b")\x81" + STOP, zipfile.ZIP_STORED)
        for n in range(9):
            file.writestr(f"a/code/__torch__/{n}.py", bytes(2**22))
    one_line(path, "more source than any TorchScript")


def test_source_that_cannot_be_inflated_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", HEAD + named("__torch__", "Net") + b")\x81" + STOP, zipfile.ZIP_STORED)
        file.writestr("a/code/__torch__.py", bytes(2**12))
    data = bytearray(path.read_bytes())
    start = data.index(b"__torch__.py") + len(b"__torch__.py")
    data[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    one_line(path, "cannot be inflated")


def header(**told: object) -> str:
    return json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | told})


SAFETENSORS: dict[str, tuple[Make, str]] = {
    "a header longer than the file": (
        lambda p: safetensors(p, header(), bytes(24), length=2**60),
        "said to be 1152921504606846976",
    ),
    "a header that is no JSON": (lambda p: safetensors(p, "{no json at all", bytes(24)), "header is not JSON"),
    "a header nested deep": (lambda p: safetensors(p, '{"a":' + "[" * 100_000, b""), "header is not JSON"),
    "a header of another kind": (lambda p: p.write_bytes(struct.pack("<Q", 4) + b"{}  "), "holds no tensors"),
    "keys twice": (lambda p: safetensors(p, header()[:-1] + ", " + header()[1:], bytes(24)), "key 'w' twice"),
    "a huge shape": (lambda p: safetensors(p, header(shape=[2**40, 2**40]), bytes(24)), "does not fit"),
    "a shape that overflows": (lambda p: safetensors(p, header(shape=[2**63, 2]), bytes(24)), "cannot be right"),
    "a negative shape": (lambda p: safetensors(p, header(shape=[-2, -3]), bytes(24)), "cannot be right"),
    "offsets out of the file": (
        lambda p: safetensors(p, header(shape=[2, 300], data_offsets=[0, 2400]), bytes(24)),
        "cut short",
    ),
    "offsets with a hole": (lambda p: safetensors(p, header(data_offsets=[8, 32]), bytes(32)), "does not fit"),
    "offsets backwards": (lambda p: safetensors(p, header(data_offsets=[24, 0]), bytes(24)), "cannot be right"),
    "more numbers than are told of": (lambda p: safetensors(p, header(), bytes(48)), "holds 48 bytes of numbers"),
    "a type nobody has": (lambda p: safetensors(p, header(dtype="F4"), bytes(24)), "stored as 'F4'"),
    "a description of words": (lambda p: safetensors(p, '{"w": "big"}', bytes(24)), "cannot be right"),
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_a_header_that_lies_is_refused(name: str, tmp_path: Path) -> None:
    make, match = SAFETENSORS[name]
    make(tmp_path / "x.pt")
    one_line(tmp_path / "x.pt", match)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty"),
        (b"hello, I am a text", "not a checkpoint of a kind that is known"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of git-lfs"),
        (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
        (b"\x00" * 4096, "not a checkpoint"),
        (b"PK\x03\x04 and no more", "cut short"),
    ],
    ids=["empty", "text", "web page", "git-lfs", "pickle", "zeros", "zip"],
)
def test_what_is_no_checkpoint_is_told_apart(data: bytes, match: str, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(data)
    one_line(tmp_path / "x.pt", match)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    one_line(tmp_path / "x.pt", "no such file")


def test_what_is_no_file_at_all_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.pt")
    one_line(tmp_path / "x.pt", "is not a file")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_cut_short_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    if kind == "zip":
        torch.save({"w": torch.zeros(100)}, path)
    elif kind == "legacy":
        torch.save({"w": torch.zeros(100)}, path, _use_new_zipfile_serialization=False)
    else:
        safetensors(path, header(), bytes(24))
    data = path.read_bytes()
    for share in range(1, 20):
        path.write_bytes(data[: len(data) * share // 20])
        with pytest.raises(CheckpointError):
            reading.read(path)


def test_bytes_changed_at_random_never_do_more_than_be_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    random = numpy.random.default_rng(0)
    for kind in (True, False):
        torch.save({"w": torch.zeros(4), "v": torch.ones(2).half()}, path, _use_new_zipfile_serialization=kind)
        data = numpy.frombuffer(path.read_bytes(), numpy.uint8)
        for _ in range(150):
            changed = data.copy()
            changed[random.integers(0, len(data), 3)] = random.integers(0, 256, 3)
            path.write_bytes(changed.tobytes())
            with contextlib.suppress(CheckpointError):  # anything else would fail here
                assert len(reading.read(path).tensors) <= 2


def test_an_old_file_that_lies_of_its_size_is_refused(tmp_path: Path) -> None:
    huge = state({"w": tensor(count=2**50, size=(2**50,), stride=(1,)).replace(b"tQ", b"NtQ")})
    one_line(legacy(tmp_path / "x.pt", huge, [("0", 2**50, bytes(24))]), "larger than the whole file")
    other = state({"w": tensor().replace(b"tQ", b"NtQ")})
    one_line(legacy(tmp_path / "x.pt", other, [("0", 7, bytes(28))]), "not where it should be")
    one_line(legacy(tmp_path / "x.pt", other, [("1", 6, bytes(24))]), "list of its tensors does not fit")


@pytest.mark.parametrize("part", ["../x.pt", "/etc/passwd", "sub/x.safetensors", "x.pt"])
def test_an_index_that_leads_elsewhere_is_refused(part: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": part}}))
    one_line(index, "does not lie beside it")


def test_no_memory_is_filled_by_what_a_file_tells_of_itself(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, (data, _) in enumerate(PICKLES.values()):
        archive(parts / f"pickle-{number}", data)
    for number, (make, _) in enumerate(SAFETENSORS.values()):
        make(parts / f"safetensors-{number}")
    for number, make in enumerate((bomb, overlapping, told_sizes)):
        make(parts / f"zip-{number}")
    (parts / "inflating").write_bytes(zlib.compress(bytes(2**20)))
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from limner.errors import LimnerError\n"
        "from limner.official import reading\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))\n"
        "count = 0\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        reading.read(path)\n"
        "    except LimnerError:\n"
        "        count += 1\n"
        "print(count)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(parts)], capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert int(ended.stdout) == len(list(parts.iterdir()))
