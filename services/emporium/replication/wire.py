"""Records to JSON and back: `["Name", field, field, ...]`, nested records likewise.

Every record that travels or is stored is registered once, by name. The receiver checks names,
field counts and field types, so that a malformed message is a `WireError`, never a crash later.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from emporium.replication import effects, messages

NEWEST_MESSAGE_VERSION = 1
"""Raised when a message that travels changes its form or its meaning. Two processes agree on the
newest version that both know (`runtime/frames.py`). So far there is one version, and packing
doesn't ask for it: with the second, what is sent has to be written in its stream's version."""
OLDEST_MESSAGE_VERSION = 1
"""The oldest version that can still be spoken. It follows one release later: while pods are rolled
to a new version and back, both programs must find one in common."""


class WireError(ValueError):
    """Text that is no valid record: what was wrong, in one line."""


_decoders: dict[str, Callable[[list[Any]], object]] = {}
_encoders: dict[type, Callable[[Any], object]] = {}


def _identity(value: Any) -> Any:
    return value


def _scalar(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is kind or (kind is float and type(value) is int):
            return value
        raise WireError(f"expected {kind.__name__}, got {str(value)[:60]!r}")

    return check


def _decoder(annotation: Any) -> Callable[[Any], Any]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is object or annotation is Any:
        return _decode_any
    if dataclasses.is_dataclass(annotation):
        return lambda value: from_plain(value, annotation)  # type: ignore[arg-type]
    if origin in (types.UnionType, typing.Union) and type(None) in arguments:
        inner = _decoder(next(a for a in arguments if a is not type(None)))
        return lambda value: None if value is None else inner(value)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if annotation in (int, float, str, bool):
        return _scalar(annotation)
    raise TypeError(f"no wire form for {annotation!r}")


def _tuple_decoder(arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    if arguments[-1] is Ellipsis:
        inner = _decoder(arguments[0])

        def many(value: Any) -> Any:
            if not isinstance(value, list):
                raise WireError("expected a list")
            return tuple([inner(item) for item in value])

        return many
    parts = [_decoder(argument) for argument in arguments]

    def fixed(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(parts):
            raise WireError(f"expected a list of {len(parts)}")
        return tuple([part(item) for part, item in zip(parts, value, strict=True)])

    return fixed


def _decode_any(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], str) and value[0] in _decoders:
        return _decoders[value[0]](value)
    return value


def _encode_any(value: Any) -> Any:
    encoder = _encoders.get(type(value))
    if encoder is not None:
        return encoder(value)
    if isinstance(value, tuple):
        return [_encode_any(item) for item in value]
    return value


def _is_plain(annotation: Any) -> bool:
    """Whether values of this type are JSON as they are, so that encoding can skip them."""
    if annotation in (int, float, str, bool, type(None), Ellipsis):
        return True
    arguments = typing.get_args(annotation)
    return bool(arguments) and all(_is_plain(argument) for argument in arguments)


def register(*kinds: type) -> None:
    """Make dataclasses known by name. Raises ValueError for a name that is taken."""
    for kind in kinds:
        _register(kind)


def _register(kind: type) -> None:
    name = kind.__name__
    if name in _decoders:
        raise ValueError(f"two records are called {name}")
    hints = typing.get_type_hints(kind)
    names = [item.name for item in dataclasses.fields(kind)]
    decode_field = [_decoder(hints[item]) for item in names]
    encode_field = [_identity if _is_plain(hints[n]) else _encode_any for n in names]

    def encode_record(record: Any) -> object:
        values = zip(encode_field, names, strict=True)
        return [name, *[encode(getattr(record, item)) for encode, item in values]]

    def decode_record(plain: list[Any]) -> object:
        if len(plain) != len(names) + 1:
            raise WireError(f"{name} has {len(names)} fields, got {len(plain) - 1}")
        try:
            values = zip(decode_field, plain[1:], strict=True)
            return kind(*[decode(value) for decode, value in values])
        except WireError as error:
            raise WireError(f"{name}: {error}") from None

    _encoders[kind] = encode_record
    _decoders[name] = decode_record


def to_plain(record: object) -> object:
    """The record as lists, strings and numbers. Raises KeyError for an unregistered kind."""
    return _encoders[type(record)](record)


def from_plain(plain: object, expected: type | None = None) -> object:
    """The record of which `to_plain` made `plain`. Raises WireError."""
    if not isinstance(plain, list) or not plain or not isinstance(plain[0], str):
        raise WireError(f"expected a record, got {str(plain)[:60]!r}")
    decoder = _decoders.get(plain[0])
    if decoder is None:
        raise WireError(f"unknown record {plain[0][:60]!r}")
    record = decoder(plain)
    if expected is not None and type(record) is not expected:
        raise WireError(f"expected {expected.__name__}, got {plain[0][:60]}")
    return record


_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def encode(record: object) -> str:
    """The record as compact JSON text, the same for equal records."""
    return _dump(to_plain(record))


def decode(text: str | bytes, expected: type | None = None) -> object:
    """The record in JSON text. Raises WireError."""
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise WireError(f"no JSON: {error}") from None
    return from_plain(plain, expected)


def register_module(name: str) -> None:
    """Register every record that the module `name` defines."""
    for value in list(vars(sys.modules[name]).values()):
        if not isinstance(value, type) or value.__module__ != name:
            continue
        if dataclasses.is_dataclass(value):
            _register(value)


register_module(messages.__name__)
register(effects.Promised)
