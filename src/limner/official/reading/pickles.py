"""A machine for pickles that can make plain values and nothing else: it finds no class, imports nothing, calls nothing.

What a pickle names is kept as a name (`Global`); what it would construct becomes an inert `Object`. Only the few functions
in `RULES`, all ours, are applied. Names outside the packages that released checkpoints mention are refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple, cast

from limner.errors import CheckpointError

LONGEST = 2**27  # bytes of one pickle; the longest of a released file is under 2 MB
_OPS = 2_000_000  # instructions of one pickle
_LINE = 2**16  # bytes of a line in a pickle

# Classes of these may be mentioned: they become inert. Released files hold whole modules, and what trainers leave behind.
_MENTIONED = (
    "__torch__.",
    "argparse.",
    "dall_e.",
    "lightning.",
    "lightning_fabric.",
    "numpy.",
    "omegaconf.",
    "pytorch_lightning.",
    "torch.nn.",
    "torch.optim.",
    "torch.jit._pickle.",
)
_NAMED = {
    "_codecs.encode",
    "builtins.bool",
    "builtins.bytearray",
    "builtins.dict",
    "builtins.float",
    "builtins.frozenset",
    "builtins.int",
    "builtins.list",
    "builtins.set",
    "builtins.slice",
    "builtins.str",
    "builtins.tuple",
    "collections.Counter",
    "collections.OrderedDict",
    "collections.defaultdict",
    "pathlib.PosixPath",
    "torch.Size",
    "torch.Tensor",
    "torch._tensor._rebuild_from_type_v2",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch.device",
    "torch.serialization._get_layout",
    "typing.Any",
}
_KINDS = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_NAMED |= {f"torch.{kind}Storage" for kind in _KINDS}
_NAMED |= {f"torch.{name}" for name in ("float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool")}


class Global(NamedTuple):
    """The name of a class or function, and no more."""

    module: str
    name: str

    @property
    def full(self) -> str:
        """Both with a dot between, as Python 3 would say it."""
        return f"{'builtins' if self.module == '__builtin__' else self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Object:
    """What would have been an instance of a class that is not made here."""

    kind: Global
    state: dict[Any, Any] = field(default_factory=dict)


Rule = Callable[[tuple[Any, ...]], Any]  # what stands in for a call; gets its arguments


class Window:
    """A part of a mapped file, read as a stream that never gives more than is there."""

    def __init__(self, data: Any, start: int, size: int) -> None:
        self._data, self._at, self._end = data, start, min(start + size, len(data))

    def read(self, size: int) -> bytes:
        """The next bytes; fewer at the end, as a file gives them."""
        got = bytes(self._data[self._at : min(self._at + size, self._end)])
        self._at += len(got)
        return got

    def readline(self) -> bytes:
        """The next line; without its end when it is too long to be one."""
        end = self._data.find(b"\n", self._at, min(self._at + _LINE, self._end))
        return self.read((end + 1 if end >= 0 else self._end) - self._at if end >= 0 else _LINE)

    def tell(self) -> int:
        """Where the next byte lies in the file."""
        return self._at


def load(window: Window, rules: Mapping[str, Rule], persistent: Rule, *, where: str) -> Any:
    """The value of the pickle at a window's place; the window then stands behind it.

    `rules` stand in for the functions that a pickle calls, by full name; `persistent` for what it refers to outside itself.

    Raises: CheckpointError for a pickle that is broken, endless, or names what weights have no need of.
    """
    machine = _Machine(rules, persistent, where)
    start = window.tell()
    try:
        for count, (code, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], window))):
            if count >= _OPS or window.tell() - start > LONGEST:
                raise CheckpointError(f"{where}: its pickle is far longer than that of any checkpoint; refused")
            machine.step(code.name, argument)
    except CheckpointError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{where}: not a whole pickle ({' '.join(str(error).split())[:80] or type(error).__name__})"
        ) from None
    return machine.value


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, rules: Mapping[str, Rule], persistent: Rule, where: str) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.rules, self.persistent, self.where = rules, persistent, where
        self.value: Any = None

    def step(self, code: str, argument: Any) -> None:
        """One instruction."""
        stack = self.stack
        match code:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                self.value = stack.pop()
            case "MARK":
                self.marks.append(stack)
                self.stack = []
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[int(argument)] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[int(argument)])
            case "BINPERSID":
                stack.append(self.persistent(stack.pop()))
            case _ if code in _CONSTANTS:
                stack.append(_CONSTANTS[code])
            case _ if code in _LITERALS:
                stack.append(argument)
            case _ if code in _COLLECTING:
                self._collect(code)
            case _:
                self._construct(code, argument)

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _collect(self, code: str) -> None:
        """Instructions that make or fill containers."""
        match code:
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                self.stack.append({} if code == "EMPTY_DICT" else [])
            case "TUPLE" | "FROZENSET":
                items = self._since_mark()
                self.stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(code[-1])
                items = self.stack[-count:]
                del self.stack[-count:]
                self.stack.append(tuple(items))
            case "LIST":
                items = self._since_mark()
                self.stack.append(items)
            case "DICT":
                items = self._since_mark()
                self.stack.append({})
                self._fill(items)
            case "APPEND":
                self._extend([self.stack.pop()])
            case "APPENDS" | "ADDITEMS":
                self._extend(self._since_mark())
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                self._fill([key, value])
            case "SETITEMS":
                self._fill(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Object):  # an inert object may not be filled, but a list in it is of no interest
            raise ValueError("items are put into something that is not a list")

    def _fill(self, items: list[Any]) -> None:
        target = self.stack[-1]
        place = target.state if isinstance(target, Object) else target
        if not isinstance(place, dict) or len(items) % 2:
            raise ValueError("keys are put into something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float | bytes | None):
                continue  # not a name of weights, and hashing it could go deep
            if key in place:
                raise CheckpointError(
                    f"{self.where}: holds the key {key!r:.80} twice; which of the two is meant cannot be known"
                )
            place[key] = value

    def _construct(self, code: str, argument: Any) -> None:
        """Instructions that would find, call or change classes."""
        stack = self.stack
        match code:
            case "GLOBAL":
                module, _, name = str(argument).partition(" ")
                stack.append(self._named(module, name))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(self._named(module, name))
            case "REDUCE" | "NEWOBJ":
                arguments, kind = stack.pop(), stack.pop()
                stack.append(self._made(kind, arguments))
            case "NEWOBJ_EX":
                _, arguments, kind = stack.pop(), stack.pop(), stack.pop()
                stack.append(self._made(kind, arguments))
            case "INST":
                module, _, name = str(argument).partition(" ")
                arguments = self._since_mark()
                self.stack.append(self._made(self._named(module, name), tuple(arguments)))
            case "OBJ":
                kind, *arguments = self._since_mark()
                self.stack.append(self._made(kind, tuple(arguments)))
            case "BUILD":
                state, target = stack.pop(), stack[-1]
                if isinstance(target, Object):
                    parts = state if isinstance(state, tuple) else (state,)
                    target.state.update({key: value for part in parts if isinstance(part, dict) for key, value in part.items()})
                elif isinstance(target, Global):
                    raise CheckpointError(f"{self.where}: its pickle would change {target.full}; refused, nothing was run")
            case _:
                raise CheckpointError(
                    f"{self.where}: its pickle has the instruction {code}, which no checkpoint needs; refused"
                )

    def _named(self, module: Any, name: Any) -> Global:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name is not a word")
        found = Global(module, name)
        if found.full not in _NAMED and found.full not in self.rules and not found.full.startswith(_MENTIONED):
            raise CheckpointError(
                f"{self.where}: its pickle asks for {found.full[:80]!r}, which weights do not need; refused, nothing was run"
            )
        return found

    def _made(self, kind: Any, arguments: Any) -> Any:
        if not isinstance(kind, Global) or not isinstance(arguments, tuple):
            raise ValueError("something is called that is not a class or function")
        rule = self.rules.get(kind.full)
        return Object(kind) if rule is None else rule(arguments)


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
    | {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
)
_COLLECTING = frozenset(
    {"EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "TUPLE", "FROZENSET", "TUPLE1", "TUPLE2", "TUPLE3"}
    | {"LIST", "DICT", "APPEND", "APPENDS", "ADDITEMS", "SETITEM", "SETITEMS"}
)
