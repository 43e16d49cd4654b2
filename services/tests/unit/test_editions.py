"""The shops' data, and the readers of their files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emporium import editions
from emporium.catalog.state_machine import CatalogState
from emporium.editions import bookstore
from emporium.editions.files import MOST_ITEMS, FileError, parse_config, parse_items
from emporium.editions.money import cents_as_text, text_as_cents

LINE = "init,1,3,10,distributed systems,A title, with a comma"


def test_the_first_designs_books_are_seven_in_three_topics() -> None:
    """As its file has them."""
    items = bookstore.items("000")
    assert [item.item for item in items] == [str(number) for number in range(1, 8)]
    assert [item.stock for item in items] == [3, 3, 3, 6, 3, 3, 3]
    assert len({item.topic for item in items}) == 3
    assert [process.role for process in bookstore.processes("000")] == [
        *("frontend", "catalog", "catalog", "order", "order", "cache"),
    ]


def test_the_second_designs_books_are_four_with_a_thousand_copies() -> None:
    """As its lookup log shows them."""
    items = bookstore.items("001")
    assert [(item.item, item.stock, item.price) for item in items] == [
        *(("1", 1000, 1000), ("2", 1000, 2000), ("3", 1000, 500), ("4", 1000, 1500)),
    ]
    assert len(bookstore.processes("001")) == 3
    with pytest.raises(ValueError, match="000 and 001"):
        bookstore.items("002")


def test_the_load_has_a_million_copies_and_one_scarce_item() -> None:
    """What the scenarios sell, under numbers of its own."""
    items = bookstore.load_items()
    assert {item.topic for item in items} == {"load"}
    assert sorted({item.stock for item in items}) == [40, 1_000_000]
    assert not {item.item for item in items} & {item.item for item in bookstore.items()}


def test_the_scenarios_items_are_printed_as_a_file_that_a_store_takes() -> None:
    """`python3 -m emporium.client.items`: the seeds' books, and what the load buys."""
    command = [sys.executable, "-m", "emporium.client.items"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    found = {item.item: item.stock for item in parse_items(printed.stdout)}
    assert list(found) == [str(number) for number in (*range(1, 8), *range(101, 110))]
    assert found["101"] == 1_000_000


def test_later_editions_are_refused_by_name() -> None:
    """And unknown ones too."""
    assert editions.edition("bookstore").NAME == "bookstore"
    for name in editions.LATER:
        with pytest.raises(editions.EditionError, match=f"{name} is not in this version"):
            editions.edition(name)
    with pytest.raises(editions.EditionError, match="no edition 'shoes'"):
        editions.edition("shoes")


def test_a_data_set_can_be_loaded_by_the_catalog() -> None:
    """What the genesis carries is what the state machine takes."""
    data = editions.items_as_data(bookstore.items())
    state = CatalogState()
    state.start(data)
    assert len(state.books) == 7
    assert [book.stock for book in state.books.all()] == [3, 3, 3, 6, 3, 3, 3]
    assert json.loads(data)["items"][0]["price"] == 1000


def test_lines_and_items_say_the_same() -> None:
    """Writing and reading again changes nothing."""
    items = (*bookstore.items(), *bookstore.load_items())
    assert parse_items(editions.items_as_lines(items)) == items


def test_blank_lines_spaces_and_carriage_returns_are_allowed() -> None:
    """The designs' files have them."""
    text = "\ufeff\r\n init , 1 , 3 , 10.50 , a topic , a title \r\n\r\n"
    [item] = parse_items(text.lstrip("\ufeff"))
    assert (item.item, item.stock, item.price, item.topic) == ("1", 3, 1050, "a topic")


def test_a_title_may_have_commas() -> None:
    """It is the last field."""
    assert parse_items(LINE)[0].title == "A title, with a comma"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no init line"),
        ("sell,1,3,10,t,x", ":1: operation: expected init"),
        ("init,1,3,10,t", ":1: expected init,number"),
        ("\n\ninit,,3,10,t,x", ":3: number"),
        ("init,1 2,3,10,t,x", ":1: number"),
        ("init,1,-3,10,t,x", ":1: stock"),
        ("init,1,3.5,10,t,x", ":1: stock"),
        ("init,1,9999999999,10,t,x", ":1: stock"),
        ("init,1,3,ten,t,x", ":1: cost"),
        ("init,1,3,1.234,t,x", ":1: cost"),
        ("init,1,3,-1,t,x", ":1: cost"),
        ("init,1,3,10,,x", ":1: topic"),
        ("init,1,3,10,t,", ":1: title"),
        ("init,1,3,10,t,\x07", ":1: title"),
        (f"init,1,3,10,{'t' * 201},x", ":1: topic"),
        ("init,1,3,10,t,x\ninit,1,3,10,t,x", ":2: number: 1 is there twice"),
    ],
)
def test_a_bad_line_is_named_with_its_number(text: str, said: str) -> None:
    """File, line and field."""
    with pytest.raises(FileError, match=said):
        parse_items(text, "some/file")


def test_too_many_items_are_refused() -> None:
    """The data set has to fit into one entry."""
    text = "\n".join(f"init,{number},1,1,t,x" for number in range(MOST_ITEMS + 1))
    with pytest.raises(FileError, match="more than"):
        parse_items(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no type,ip:port line"),
        ("shop,127.0.0.1:8000", ":1: type"),
        ("catalog", ":1: address"),
        ("catalog,127.0.0.1", ":1: address"),
        ("catalog,127.0.0.300:1", ":1: address"),
        ("catalog,[::g]:1", ":1: address"),
        ("catalog,:8000", ":1: address"),
        ("catalog,127.0.0.1:0", ":1: port"),
        ("catalog,127.0.0.1:65536", ":1: port"),
        ("catalog,127.0.0.1:x", ":1: port"),
        ("catalog,127.0.0.1:1\n\norder,127.0.0.1:1", ":3: address: 127.0.0.1:1 is there twice"),
    ],
)
def test_a_bad_config_line_is_named_with_its_number(text: str, said: str) -> None:
    """File, line and field."""
    with pytest.raises(FileError, match=said):
        parse_config(text, "config")


def test_a_config_may_name_hosts_and_ipv6() -> None:
    """Besides plain addresses."""
    processes = parse_config("catalog, [::1]:8001\norder,localhost:8011")
    assert [(each.host, each.port) for each in processes] == [("::1", 8001), ("localhost", 8011)]
    assert processes[1].where == "config:2"


def test_files_are_read_from_disk(tmp_path: Path) -> None:
    """A missing or unreadable file is named."""
    path = tmp_path / "items"
    path.write_text(LINE, encoding="utf-8")
    assert editions.first_items("bookstore", str(path)) == parse_items(LINE)
    assert editions.first_items("bookstore") == bookstore.items()
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(FileError, match="no UTF-8"):
        editions.read_items(path)
    with pytest.raises(FileError, match="missing: No such file"):
        editions.read_config(tmp_path / "missing")


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0"), (1000, "10"), (1050, "10.50"), (1, "0.01"), (99, "0.99")]
)
def test_money_is_printed_and_read_without_loss(cents: int, text: str) -> None:
    """Whole amounts without cents, as the designs print them."""
    assert cents_as_text(cents) == text
    assert text_as_cents(text) == cents


@pytest.mark.parametrize("text", ["", "x", "1.234", "-1", "1e3", ".5", "1.", "٣", "1000000.01"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r"amount|more than"):
        text_as_cents(text)
