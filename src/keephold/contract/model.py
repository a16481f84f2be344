"""`Contract`, the decorators, and the model that a class resolves to.

Resolution waits until the class is first used: by then every name that an annotation mentions exists, whatever the
order of the file, and each transaction pays only for the methods it runs.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Concatenate, Final, Literal, ParamSpec, TypeVar, overload

from keephold.contract.context import Call, PublicView, View
from keephold.contract.errors import ContractTypeError
from keephold.contract.marks import MARK, Mark
from keephold.contract.records import own_hints
from keephold.contract.sending import Outcome, value_hint
from keephold.contract.storage import MAX_VALUE, Field, Storage, field
from keephold.contract.values import Codec, codec_of

_S = TypeVar("_S")
_P = ParamSpec("_P")
_R = TypeVar("_R")
_F = TypeVar("_F", bound=Callable[..., object])


MAX_FIRST_PAD: Final = 8128
"""Bytes: the filler that stands for an unreadable entry's receipt fills the first size, and HKDF yields no more."""


def _marked(fn: _F, mark: Mark) -> _F:
    if not isinstance(fn, types.FunctionType):
        raise ContractTypeError(f"@{mark.kind} marks a method, no {type(fn).__name__}: write it right above the `def`")
    setattr(fn, MARK, mark)
    return fn


def init(fn: Callable[Concatenate[_S, Call, _P], None]) -> Callable[Concatenate[_S, Call, _P], None]:
    """Mark the method that sets the contract up: called once, first, by the contract's creator."""
    return _marked(fn, Mark("init"))


def call(fn: Callable[Concatenate[_S, Call, _P], _R]) -> Callable[Concatenate[_S, Call, _P], _R]:
    """Mark a method that may write. Its call is a transaction; its result is sealed to the caller."""
    return _marked(fn, Mark("call"))


def reply(fn: Callable[[_S, Call, Outcome[_R]], None]) -> Callable[[_S, Call, Outcome[_R]], None]:
    """Mark the method that takes the answers to messages: no account and no other contract can call it."""
    return _marked(fn, Mark("reply"))


_PrivateView = Callable[Concatenate[_S, View, _P], _R]
_OpenView = Callable[Concatenate[_S, PublicView, _P], _R]


@overload
def view(fn: _PrivateView[_S, _P, _R], /) -> _PrivateView[_S, _P, _R]: ...
@overload
def view(*, public: Literal[True]) -> Callable[[_OpenView[_S, _P, _R]], _OpenView[_S, _P, _R]]: ...
@overload
def view(*, scope: str | None = None) -> Callable[[_PrivateView[_S, _P, _R]], _PrivateView[_S, _P, _R]]: ...
def view(fn: Any = None, /, *, scope: str | None = None, public: bool = False) -> Any:
    """Mark a method that reads. It never touches the ledger; its answer is sealed to the reader.

    Args:
        fn: the method, where the decorator is used bare.
        scope: the word a permit must carry; the method's name by default.
        public: anyone may ask, without a permit; the method then takes a `PublicView`.
    """
    mark = Mark("view", scope, public)
    return (lambda method: _marked(method, mark)) if fn is None else _marked(fn, mark)


def _is_word(scope: str) -> bool:
    return scope.isascii() and scope.replace("-", "_").isidentifier()


class Contract:
    """Base of every contract. Annotated names are its storage; decorated methods its interface.

    `class Token(Contract, pad=(512, 4096))` names the size buckets, in bytes, that its sealed values are padded to.
    """

    pad: ClassVar[tuple[int, ...]] = (512, 4096)

    def __init_subclass__(cls, *, pad: tuple[int, ...] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if pad is not None:
            cls.pad = _sizes(pad)

    def __setattr__(self, name: str, value: object) -> None:
        if name not in model_of(type(self)).fields:
            raise AttributeError(f"{type(self).__name__} declares no field {name!r}: annotate it in the class")
        object.__setattr__(self, name, value)


def _sizes(pad: object) -> tuple[int, ...]:
    """Return the size buckets of a contract, which every worker asks for as well."""
    sizes = pad if isinstance(pad, tuple) and all(type(size) is int for size in pad) else ()
    rises = list(sizes) == sorted({*sizes})
    if not sizes or not rises or not 0 < sizes[0] <= MAX_FIRST_PAD or sizes[-1] > MAX_VALUE:
        raise ContractTypeError(
            f"pad is a tuple of rising sizes in bytes, the first at most {MAX_FIRST_PAD}, the last at most {MAX_VALUE}"
        )
    return sizes


def bind(cls: type[Contract], storage: Storage) -> Contract:
    """Return a contract object over `storage`, for one transaction."""
    contract = object.__new__(cls)
    contract.__dict__["_storage"] = storage
    return contract


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a method."""

    name: str
    codec: Codec
    required: bool
    default: object


class Method:
    """One method of a contract's interface, resolved on first use."""

    __slots__ = ("_signature", "fn", "mark", "name")

    def __init__(self, name: str, fn: types.FunctionType, mark: Mark) -> None:
        self.name: Final = name
        self.fn: Final = fn
        self.mark: Final = mark
        self._signature: tuple[tuple[Parameter, ...], Codec] | None = None

    @property
    def scope(self) -> str:
        """Return the word that a permit for this view must carry."""
        return self.mark.scope or self.name

    def signature(self) -> tuple[tuple[Parameter, ...], Codec]:
        """Return the parameters after `self` and the context, and the codec of the result.

        Raises:
            ContractTypeError: an annotation is missing, has no place in an interface, or the context is the wrong one.
        """
        if self._signature is None:
            self._signature = self._resolve()
        return self._signature

    def _resolve(self) -> tuple[tuple[Parameter, ...], Codec]:
        code = self.fn.__code__
        hints = own_hints(self.fn)
        names = code.co_varnames[: code.co_argcount]
        if code.co_kwonlyargcount or code.co_flags & 0x0C or code.co_posonlyargcount or len(names) < 2:
            raise ContractTypeError(f"{self.name}: a method takes self, its context, and plain arguments")
        if self.mark.kind == "reply" and (len(names) != 3 or self.fn.__defaults__):
            raise ContractTypeError(f"{self.name}: a reply handler takes self, its context, and an Outcome")
        wanted = Call if self.mark.kind != "view" else PublicView if self.mark.public else View
        if hints.get(names[1]) is not wanted:
            raise ContractTypeError(f"{self.name}: annotate {names[1]} as {wanted.__name__}")
        if self.mark.scope is not None and not _is_word(self.mark.scope):
            raise ContractTypeError(f"{self.name}: a scope is one word of letters, digits, - and _, a letter first")
        if "return" not in hints:
            raise ContractTypeError(f"{self.name}: annotate what it returns (`-> None` where nothing)")
        defaults = self.fn.__defaults__ or ()
        optional = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
        parameters = []
        for name in names[2:]:
            if name not in hints:
                raise ContractTypeError(f"{self.name}: annotate its argument {name}")
            codec = self._codec(name, value_hint(hints[name]) if self.mark.kind == "reply" else hints[name])
            if name in optional:
                self._check_default(name, codec, optional[name])
            parameters.append(Parameter(name, codec, name not in optional, optional.get(name)))
        return tuple(parameters), self._codec("the result", hints["return"])

    def _check_default(self, name: str, codec: Codec, default: object) -> None:
        try:
            codec.encode(default)
        except ContractTypeError as e:
            raise ContractTypeError(f"{self.name}: the default of {name}: {e}") from e

    def _codec(self, what: str, hint: object) -> Codec:
        try:
            return codec_of(hint)
        except ContractTypeError as e:
            raise ContractTypeError(f"{self.name}: {what}: {e}") from e


def method_of(fn: Callable[..., object]) -> Method | None:
    """Return the interface method that a function of a contract class is; None if it has no decorator."""
    mark = getattr(fn, MARK, None)
    return Method(fn.__name__, fn, mark) if isinstance(mark, Mark) and isinstance(fn, types.FunctionType) else None


@dataclass(frozen=True, slots=True)
class Model:
    """A contract class, resolved."""

    fields: dict[str, Field]
    methods: dict[str, Method]
    init: str | None
    """Name of the @init method; a contract without one is ready at once."""


def model_of(cls: type[Contract]) -> Model:
    """Return the model of a contract class; its annotations become storage descriptors on first use.

    Raises:
        ContractTypeError: an annotation or decorator that makes no contract.
    """
    known = cls.__dict__.get("__keephold_model__")
    if isinstance(known, Model):
        return known
    fields: dict[str, Field] = {}
    methods: dict[str, Method] = {}
    for base in reversed(cls.__mro__):
        if base is Contract or not issubclass(base, Contract):
            continue
        for name, hint in own_hints(base).items():
            origin = getattr(hint, "__origin__", hint)
            if origin in (ClassVar, Final):
                continue
            if name.startswith("_") or name == "pad":
                raise ContractTypeError(f"{name}: names of fields do not start with an underscore and are not `pad`")
            given = base.__dict__.get(name)
            if isinstance(given, Field):
                fields[name] = given
                continue
            if isinstance(given, types.FunctionType):
                raise ContractTypeError(f"{name}: a method and a field have one name")
            try:
                declared = field(name, hint, given) if name in base.__dict__ else field(name, hint)
            except ContractTypeError as e:
                raise ContractTypeError(f"{name}: {e}") from e
            fields[name] = declared
            setattr(base, name, declared)
        for name, value in base.__dict__.items():
            mark = getattr(value, MARK, getattr(getattr(value, "__wrapped__", None), MARK, None))
            if not isinstance(mark, Mark):
                continue
            if not isinstance(value, types.FunctionType):
                raise ContractTypeError(f"{name}: {type(value).__name__} hides the method: write @{mark.kind} above it")
            methods[name] = Method(name, value, mark)
    inits = [name for name, method in methods.items() if method.mark.kind == "init"]
    if len(inits) > 1:
        raise ContractTypeError(f"{inits[1]}: one @init, not {len(inits)}: {', '.join(inits)}")
    _sizes(cls.pad)
    model = Model(fields, methods, inits[0] if inits else None)
    type.__setattr__(cls, "__keephold_model__", model)
    return model
