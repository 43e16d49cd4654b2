"""Every registered record survives the wire; whatever isn't one is a WireError."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from random import Random
from typing import Any

import pytest

from emporium.cache import requests as cache_requests
from emporium.catalog import requests as catalog_requests
from emporium.order import requests as order_requests
from emporium.replication import failures, messages, wire
from emporium.replication.messages import Append, Entry, Envelope, Invalidate
from emporium.replication.wire import WireError, decode, encode

MODULES = (messages, failures, catalog_requests, order_requests, cache_requests)
RECORDS = [
    kind
    for module in MODULES
    for kind in vars(module).values()
    if dataclasses.is_dataclass(kind) and getattr(kind, "__module__", "") == module.__name__
]
TEXTS = ("", "x", "ä€😀", 'quote " and \\', "line\nbreak", '["Append",1]')


def value_of(annotation: Any, random: Random) -> Any:
    """Some value of this type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is object:
        return random.choice((None, 7, "text", Entry(1, 2, "noop", "", "c")))
    if dataclasses.is_dataclass(annotation):
        return record_of(annotation, random)  # type: ignore[arg-type]
    if origin in (types.UnionType, typing.Union):
        return value_of(random.choice(arguments), random)
    if origin is tuple and arguments[-1] is Ellipsis:
        return tuple(value_of(arguments[0], random) for _ in range(random.randrange(3)))
    if origin is tuple:
        return tuple(value_of(argument, random) for argument in arguments)
    return {
        int: random.randrange(-5, 1 << 53),
        float: random.random() * 1e6,
        str: random.choice(TEXTS),
        bool: random.random() < 0.5,
        type(None): None,
    }[annotation]


def record_of(kind: type, random: Random) -> Any:
    """A record with some value in every field."""
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return kind(*[value_of(hints[field.name], random) for field in fields])


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_equal(kind: type) -> None:
    """Encoded and decoded, and encoded again to the same text."""
    random = Random(kind.__name__)
    for _ in range(20):
        record = record_of(kind, random)
        text = encode(record)
        back = decode(text)
        assert back == record
        assert type(back) is kind
        assert encode(back) == text


def test_nested_records_keep_their_types() -> None:
    """An envelope with an append with entries."""
    entry = Entry(2, 7, "command", '{"a": 1}', "chain")
    append = Append(2, 6, 1, (entry, entry), 5, 4, 9, leaving=False, previous_chain="before")
    assert decode(encode(Envelope("group", 1, "i1", append)), Envelope).message == append  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "7",
        '"Append"',
        "[]",
        "[7]",
        '["Nobody", 1]',
        '["Refused"]',
        '["Refused", 1, 2]',
        '["Refused", "1"]',
        '["Refused", 1.5]',
        '["Refused", true]',
        '["Refused", null]',
        '["Invalidate", "s", 1, "keys"]',
        '["Invalidate", "s", 1, [1]]',
        '["ShowGenesis", ["Refused", 1]]',
        '["ShowGenesis", 7]',
        '["InstallSnapshot", 1, 1, 1, "c", [[0]], 0, 1, "d", 1]',
        '["Promised", 1]',
        b"\xff\xfe",
    ],
)
def test_malformed_text_is_refused(text: str | bytes) -> None:
    """With a WireError, never with another error later."""
    with pytest.raises(WireError):
        decode(text)


def test_another_record_than_expected_is_refused() -> None:
    """The receiver says what it expects."""
    text = encode(Invalidate("s", 1, ("k",)))
    with pytest.raises(WireError, match="expected Append"):
        decode(text, Append)


def test_cut_and_changed_text_never_raises_anything_else() -> None:
    """Whatever is done to a valid message, it decodes or it is a WireError."""
    random = Random(5)
    record = record_of(Append, random)
    text = encode(record)
    for _ in range(500):
        place = random.randrange(len(text))
        bad = random.choice((text[:place], text[:place] + random.choice('[]{}",0x') + text[place:]))
        try:
            decode(bad)
        except WireError:
            continue


def test_floats_may_come_as_integers_but_not_the_other_way() -> None:
    """JSON knows one kind of number; a float without a fraction may lose its point."""
    assert decode('["Renew", "h", "s", 5]') == messages.Renew("h", "s", 5.0)


def test_two_records_can_not_share_a_name() -> None:
    """The name is all that travels."""
    clash = dataclasses.make_dataclass("Refused", [("epoch", int)], frozen=True)
    with pytest.raises(ValueError, match="two records are called Refused"):
        wire.register(clash)


def test_an_unregistered_record_is_an_error_of_ours() -> None:
    """Not of the sender."""
    stranger = dataclasses.make_dataclass("Stranger", [("a", int)], frozen=True)
    with pytest.raises(KeyError):
        encode(stranger(1))


def test_equal_records_have_equal_text() -> None:
    """Compact, without spaces; text isn't escaped beyond JSON's needs."""
    text = encode(Invalidate("ä", 1, ("item:1",)))
    assert text == '["Invalidate","ä",1,["item:1"]]'
    assert json.loads(text)[3] == ["item:1"]
