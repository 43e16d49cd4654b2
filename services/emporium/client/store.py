"""The store as a client sees it, over HTTP: used by the workload, the scenarios and the CLI.

A `Store` knows all frontends. It stays with one and goes on to the next when that one doesn't
answer or can't serve; a purchase keeps its request id over all tries, so that trying again is
safe. Make one `Store` per thread; the recorder and the client log may be shared.

    StoreError
    └── NoAnswerError      nobody answered within the deadline (reads)
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from emporium.client import history
from emporium.client.history import BUY, OK, READ, REFUSED, UNKNOWN, Operation, Recorder
from emporium.client.linearizability import Order

CONNECT_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 6.0
"""Above the frontends' own limit of 5 s, so that their "unknown" arrives."""
DEADLINE_S = 30.0
PAUSE_S = 0.02
"""Between two rounds over all frontends, so that a dead store isn't hammered."""
MAX_RETRY_AFTER_S = 1.0


class StoreError(Exception):
    """The store gave no usable answer."""


class NoAnswerError(StoreError):
    """Nobody answered within the deadline; the text has the last reason."""


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase that happened. `repeated`: the store had it already under this request id."""

    request_id: str
    number: int  # 0 where the route tells none (the bookstore's /buy)
    item: str
    quantity: int
    side: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A purchase that surely didn't happen: out_of_stock, unknown_item, conflict, malformed."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody told within the deadline what became of the purchase."""

    request_id: str
    reason: str


Result = Bought | Refused | Unknown


@dataclass(frozen=True, slots=True)
class Seen:
    """An item as read. `cached`: it came from a copy, not from a catalog replica."""

    item: str
    title: str
    topic: str
    stock: int
    commit_index: int
    cached: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. `body` is {} when it wasn't a JSON object."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


class ClientLog:
    """The clients' operation log, in the seeds' format; every thread may write."""

    def __init__(self, path: Path) -> None:
        """Append to the file at `path`."""
        self._lock = threading.Lock()
        self._path = path

    def write(self, line: str) -> None:
        """One line."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def lines(self) -> list[str]:
        """All lines so far."""
        with self._lock:
            if not self._path.exists():
                return []
            return self._path.read_text(encoding="utf-8").splitlines()


def new_request_id() -> str:
    """A fresh idempotency key, 32 characters."""
    return uuid.uuid4().hex


def _is_cached(headers: Mapping[str, str]) -> bool:
    """Whether no catalog replica took part: by Cache-Status (RFC 9211), else by Server-Timing."""
    status = headers.get("Cache-Status", "")
    if status:
        return "hit" in status
    tiers = [part.split(";")[0].strip() for part in headers.get("Server-Timing", "").split(",")]
    return tiers != [""] and "catalog" not in tiers


def _wait_s(answer: Answer | None) -> float:
    if answer is None:
        return PAUSE_S
    try:
        asked = float(answer.headers.get("Retry-After", PAUSE_S))
    except ValueError:
        asked = PAUSE_S
    return max(PAUSE_S, min(asked, MAX_RETRY_AFTER_S))


class Store:
    """One client of the store."""

    def __init__(
        self,
        frontends: Sequence[str],
        *,
        name: str = "Client0",
        first: int = 0,
        recorder: Recorder | None = None,
        log: ClientLog | None = None,
        token: str = "",
    ) -> None:
        """`frontends` are base URLs; `first` is the one to begin with; `token` the operator's."""
        if not frontends:
            raise ValueError("frontends: at least one is needed")
        self.name = name
        self._frontends = [frontend.rstrip("/") for frontend in frontends]
        self._current = first % len(self._frontends)
        self._recorder = recorder
        self._log = log
        self._token = token
        self._session = requests.Session()

    def close(self) -> None:
        """Close the kept connections."""
        self._session.close()

    # --- purchases ---

    def buy(
        self,
        item: str,
        quantity: int = 1,
        side: str = BUY,
        request_id: str = "",
        deadline_s: float = DEADLINE_S,
    ) -> Result:
        """Buy (or sell) through `/v1/orders`, trying again under one request id."""
        request_id = request_id or new_request_id()
        body = {"item": item, "quantity": quantity, "side": side}

        def attempt() -> Answer:
            headers = {"Idempotency-Key": request_id}
            return self._send("POST", "/v1/orders", headers=headers, body=body)

        def judge(answer: Answer) -> Result | None:
            return _judge_order(answer, request_id, item, quantity, side)

        return self._purchase(attempt, judge, request_id, item, quantity, side, deadline_s)

    def buy_book(self, item: str, request_id: str = "", deadline_s: float = DEADLINE_S) -> Result:
        """Buy one through the bookstore's `/buy`, trying again under one request id."""
        request_id = request_id or new_request_id()

        def attempt() -> Answer:
            headers = {"Idempotency-Key": request_id}
            return self._send("GET", f"/buy?item_number={quote(item)}", headers=headers)

        def judge(answer: Answer) -> Result | None:
            result = answer.body.get("result")
            if result == "Success":
                repeated = False
                return Bought(request_id, 0, item, 1, BUY, repeated)
            return Refused(request_id, "out_of_stock") if result == "Failed" else None

        return self._purchase(attempt, judge, request_id, item, 1, BUY, deadline_s)

    def _purchase(
        self,
        attempt: Any,
        judge: Any,
        request_id: str,
        item: str,
        quantity: int,
        side: str,
        deadline_s: float,
    ) -> Result:
        invoked = history.now_ns()
        end = time.monotonic() + deadline_s
        result: Result | None = None
        reason = ""
        is_open = False  # an earlier try may have bought; only an answer about the id closes that
        while result is None:
            answer, reason = self._try(attempt)
            result = None if answer is None else judge(answer)
            if is_open and isinstance(result, Refused) and result.reason == MALFORMED:
                result = None
            is_open = is_open or answer is None or answer.body.get("definite") is not True
            if result is None and time.monotonic() > end:
                result = Unknown(request_id, reason)
            elif result is None:
                self._go_on(answer)
        self._note_purchase(result, invoked, item, quantity, side)
        return result

    def _note_purchase(
        self, result: Result, invoked: int, item: str, quantity: int, side: str
    ) -> None:
        if self._recorder is None:
            return
        known = not isinstance(result, Unknown)
        self._recorder.record(
            Operation(
                process=self.name,
                kind=side,
                item=item,
                invoked=invoked,
                returned=history.now_ns() if known else None,
                outcome=_outcome(result),
                request_id=result.request_id,
                quantity=quantity,
                number=result.number if isinstance(result, Bought) else 0,
                repeated=isinstance(result, Bought) and result.repeated,
                reason="" if isinstance(result, Bought) else result.reason,
            )
        )

    # --- reads ---

    def lookup(self, item: str, deadline_s: float = DEADLINE_S) -> Seen:
        """Read an item, linearizably, through `/v1`. Raises NoAnswerError, and StoreError (404)."""

        def parse(body: dict[str, Any]) -> dict[str, Any]:
            return body

        return self._look(item, f"/v1/items/{quote(item)}", parse, deadline_s)

    def lookup_book(self, item: str, deadline_s: float = DEADLINE_S) -> Seen:
        """Read an item through the bookstore's `/lookup`. Raises as `lookup`."""

        def parse(body: dict[str, Any]) -> dict[str, Any]:
            told = body["result"]
            return {**told, "item": told["item_number"], "topic": told["type"]}

        return self._look(item, f"/lookup?item_number={quote(item)}", parse, deadline_s)

    def _look(self, item: str, path: str, parse: Any, deadline_s: float) -> Seen:
        end = time.monotonic() + deadline_s
        while True:
            invoked = history.now_ns()
            answer, reason = self._try(lambda: self._send("GET", path))
            if answer is not None and answer.status == requests.codes.ok:
                return self._seen(item, parse(answer.body), answer, invoked)
            if answer is not None and answer.status in (400, 404):
                raise StoreError(f"{path}: {answer.status} {answer.body}")
            if time.monotonic() > end:
                raise NoAnswerError(f"{path}: {reason or answer}")
            self._go_on(answer)

    def _seen(self, item: str, told: dict[str, Any], answer: Answer, invoked: int) -> Seen:
        try:
            seen = Seen(
                str(told["item"]),
                str(told["title"]),
                str(told["topic"]),
                int(told["stock"]),
                int(told.get("commit_index", -1)),
                _is_cached(answer.headers),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"item {item}: unreadable answer {told}: {error}") from error
        if self._recorder is not None:
            self._recorder.record(
                Operation(
                    process=self.name,
                    kind=READ,
                    item=seen.item,
                    invoked=invoked,
                    returned=history.now_ns(),
                    outcome=OK,
                    stock=seen.stock,
                    commit_index=seen.commit_index,
                    cached=seen.cached,
                )
            )
        return seen

    def get(self, path: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Any JSON object at a frontend, retried while 5xx. Raises StoreError."""
        end = time.monotonic() + deadline_s
        while True:
            answer, reason = self._try(lambda: self._send("GET", path))
            if answer is not None and answer.status < requests.codes.server_error:
                return answer.body
            if time.monotonic() > end:
                raise NoAnswerError(f"{path}: {reason or answer}")
            self._go_on(answer)

    def get_at(self, url: str) -> Answer:
        """One call of any URL (a replica's own route), logged, not retried. Raises StoreError."""
        try:
            return self._call("GET", url)
        except requests.RequestException as error:
            raise StoreError(f"{url}: {error}") from error

    def order(self, number: int, deadline_s: float = DEADLINE_S) -> Order | None:
        """The order of that number, or None when there is none. Raises StoreError."""
        body = self.get(f"/v1/orders/{number}", deadline_s)
        return _order(body) if "request_id" in body else None

    def orders(self, deadline_s: float = DEADLINE_S) -> list[Order]:
        """All orders, page by page, as an operator. Raises StoreError."""
        found: list[Order] = []
        while True:
            after = found[-1].number if found else 0
            body = self.get(f"/v1/orders?after={after}", deadline_s)
            if "orders" not in body:
                raise StoreError(f"the list of orders after {after}: {body}")
            found += [_order(told) for told in body["orders"]]
            if not body["orders"]:
                return found

    def change(
        self, item: str, price: int | None = None, restock: int | None = None
    ) -> dict[str, Any]:
        """Change an item as an operator (price in cents); the item after it. Raises StoreError.
        Not tried again and not recorded."""
        wanted = {"price": price, "restock": restock}
        body = {name: value for name, value in wanted.items() if value is not None}
        answer, reason = self._try(
            lambda: self._send("PATCH", f"/v1/items/{quote(item)}", {}, body)
        )
        if answer is None or answer.status != requests.codes.ok:
            raise StoreError(f"changing item {item}: {reason}")
        return answer.body

    def purchase(self, request_id: str, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """What became of a request id (`GET /v1/purchases/{id}`). Raises StoreError."""
        return self.get(f"/v1/purchases/{quote(request_id)}", deadline_s)

    # --- one call ---

    def _try(self, attempt: Any) -> tuple[Answer | None, str]:
        try:
            answer: Answer = attempt()
        except requests.RequestException as error:
            return None, f"{type(error).__name__}: {error}"
        return answer, f"{answer.status} {str(answer.body)[:200]}"

    def _go_on(self, answer: Answer | None) -> None:
        """To the next frontend; after a whole round, or when asked to, with a pause."""
        self._current = (self._current + 1) % len(self._frontends)
        if self._current == 0 or (answer is not None and "Retry-After" in answer.headers):
            time.sleep(_wait_s(answer))

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        return self._call(method, self._frontends[self._current] + path, headers, body)

    def _call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        if self._log is not None:
            self._log.write(f"{self.name}: Send request {url}")
        all_headers = dict(headers or {})
        if self._token:
            all_headers["Authorization"] = f"Bearer {self._token}"
        answer = self._session.request(
            method,
            url,
            headers=all_headers,
            json=body,
            timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S),
        )
        try:
            told = answer.json()
        except ValueError:
            told = {}
        if self._log is not None:
            self._log.write(f"{self.name}: Get response {told}")
        return Answer(answer.status_code, told if isinstance(told, dict) else {}, answer.headers)


def _order(told: Mapping[str, Any]) -> Order:
    return Order(
        int(told["number"]),
        str(told["request_id"]),
        str(told["item"]),
        int(told["quantity"]),
        str(told["side"]),
    )


def _outcome(result: Result) -> str:
    if isinstance(result, Bought):
        return OK
    return REFUSED if isinstance(result, Refused) else UNKNOWN


MALFORMED = "malformed"
REASONS = {404: "unknown_item", 409: "out_of_stock", 422: "conflict", 400: MALFORMED}


def _judge_order(
    answer: Answer, request_id: str, item: str, quantity: int, side: str
) -> Result | None:
    """What an answer of `POST /v1/orders` means; None: try again under the same id."""
    if answer.status in (requests.codes.ok, requests.codes.created):
        repeated = answer.status == requests.codes.ok
        number = int(answer.body.get("number", 0))
        return Bought(request_id, number, item, quantity, side, repeated)
    if answer.status in REASONS:
        return Refused(request_id, REASONS[answer.status])
    return None
