"""The error tree."""

from __future__ import annotations

import inspect
import re

import pytest

from emporium.replication import failures
from emporium.runtime import errors


def every_class() -> list[type[errors.EmporiumError]]:
    """All classes of the tree, in the order of the file."""
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    return [value for value in found if issubclass(value, errors.EmporiumError)]


def test_the_docstring_draws_the_tree_that_the_code_is() -> None:
    """Every class stands in the drawing below its base, with its own status and slug."""
    assert errors.__doc__ is not None
    drawn = re.findall(
        r"^    ([│├└─ ]*)([A-Z]\w+) *(?:(\d+) ([a-z-]+))?", errors.__doc__, re.MULTILINE
    )
    above: list[str] = []
    for indent, name, status, slug in drawn:
        depth = len(indent) // 4
        above[depth:] = [name]
        cls = getattr(errors, name)
        if depth:
            assert cls.__bases__[0].__name__ == above[depth - 1], name
        if status:
            assert (cls.status, cls.slug) == (int(status), slug), name
    assert {name for _, name, _, _ in drawn} == {cls.__name__ for cls in every_class()}


def test_every_slug_of_a_leaf_is_its_own() -> None:
    """A client can tell problems apart by their type."""
    leaves = [cls for cls in every_class() if not cls.__subclasses__()]
    slugs = [cls.slug for cls in leaves]
    assert sorted(set(slugs)) == sorted(slugs)


def test_only_surely_undone_errors_are_definite() -> None:
    """What the caller did wrong is definite; what may have happened is not."""
    indefinite = {cls for cls in every_class() if not cls.definite}
    assert not indefinite & set(errors.RequestError.__subclasses__())
    assert {errors.OutcomeUnknown, errors.TimedOut, errors.Abandoned} <= indefinite
    assert errors.NotServing.definite
    assert errors.Overloaded.definite


def test_an_unreachable_replica_is_definite_only_when_nothing_was_sent() -> None:
    """A stream that broke after the call left says nothing about the outcome."""
    assert not errors.Unreachable("the stream broke").definite
    assert errors.Unreachable("no stream", sent=False).definite


def test_an_error_without_words_has_its_title() -> None:
    """There is always one sentence to show."""
    assert str(errors.OutOfStock()) == errors.OutOfStock().detail == "Out of stock"
    assert str(errors.NotFound("no item 9")) == "no item 9"


def test_members_are_what_the_problem_document_shows_besides() -> None:
    """The field, the request id, the hint."""
    assert errors.BadRequest("quantity").members() == {"field": "quantity"}
    assert errors.OutcomeUnknown("abc").members() == {"request_id": "abc"}
    assert errors.Misdirected(2, 7).members() == {"hint": 2, "epoch": 7}
    assert errors.NotFound().members() == {}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (failures.NotReigning(primary=1, epoch=4), errors.Misdirected),
        (failures.Overloaded(retry_after_ms=50), errors.Overloaded),
        (failures.OutcomeUnknown(request_id="r"), errors.OutcomeUnknown),
        (failures.Unavailable(reason="starting"), errors.NotServing),
        (failures.Malformed(field="item", reason="empty"), errors.BadRequest),
    ],
)
def test_an_answer_that_is_a_failure_becomes_an_error(
    answer: object, expected: type[errors.EmporiumError]
) -> None:
    """Every record of `failures` has its error, with the same facts."""
    error = errors.of_failure(answer)
    assert type(error) is expected


def test_any_other_answer_is_no_error() -> None:
    """An item is an item."""
    assert errors.of_failure({"item": "1"}) is None
