"""What can be broken in the shop, and what the true cause then is: a table, nothing else.

``inject`` lists what the supervisor does to the running processes; healing is doing each step's
opposite, last first. An answer is right when the first cause that it names lies in one of
``services`` (the first of them is the obvious one); ``kinds`` are the kinds that also name rightly
what went wrong there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.rootcause.answer import CauseKind


@dataclass(frozen=True, slots=True)
class Turn:
    """Turn a knob of a process; the opposite is to turn it to 0."""

    process: str
    knob: str
    value: float


@dataclass(frozen=True, slots=True)
class RunSql:
    """Run a statement on the shop's database, and another to undo it."""

    inject: str
    heal: str


@dataclass(frozen=True, slots=True)
class Release:
    """Roll a service over to another version; the opposite is to roll it back."""

    service: str
    version: str


@dataclass(frozen=True, slots=True)
class TakeAway:
    """End a process and leave it away; the opposite is to start it again."""

    process: str


Step = Turn | RunSql | Release | TakeAway


@dataclass(frozen=True, slots=True)
class Fault:
    """``does`` is what happens, ``cause`` the true cause, each fit to show to a person."""

    name: str
    does: str
    cause: str
    services: tuple[str, ...]
    kinds: frozenset[CauseKind]
    inject: tuple[Step, ...]

    def caused_by(self, service: str) -> bool:
        """Whether ``service`` is a right answer to where the cause lies."""
        return service in self.services

    def is_kind(self, kind: CauseKind) -> bool:
        """Whether ``kind`` is a right answer to what went wrong there."""
        return kind in self.kinds


_ALL = (
    Fault(
        name="none",
        does="Breaks nothing.",
        cause="Nothing is wrong.",
        services=(),
        kinds=frozenset(),
        inject=(),
    ),
    Fault(
        name="slow-query",
        does="Drops the index of the reviews, so that each list of products reads the whole table sixteen times.",
        cause="The catalogue's queries for categories and searches are slow for want of an index.",
        services=("catalogue",),
        kinds=frozenset({CauseKind.SLOW_DATABASE}),
        inject=(
            RunSql(
                inject="DROP INDEX IF EXISTS reviews_by_product",
                heal="CREATE INDEX IF NOT EXISTS reviews_by_product ON reviews (product_id)",
            ),
        ),
    ),
    Fault(
        name="cpu-burn",
        does="Lets the recommendation service compute for 120 ms on its event loop for each answer.",
        cause="The recommendation service burns CPU and makes its requests queue.",
        services=("recommendation",),
        kinds=frozenset({CauseKind.CPU, CauseKind.SLOW_CODE}),
        inject=(Turn("recommendation", "refine_ms", 120.0),),
    ),
    Fault(
        name="network-delay",
        does="Delays what travels between checkout and payment by 400 ms each way.",
        cause="The network between checkout and payment is slow; neither end is.",
        services=("payment", "checkout"),
        kinds=frozenset({CauseKind.NETWORK, CauseKind.SLOW_DEPENDENCY}),
        inject=(Turn("network", "delay_s", 0.4),),
    ),
    Fault(
        name="bad-deploy",
        does="Rolls the cart over to version 2.4.0, whose campaigns do not know most categories.",
        cause="Version 2.4.0 of the cart raises KeyError for most carts.",
        services=("cart",),
        kinds=frozenset({CauseKind.BAD_DEPLOY, CauseKind.ERRORS}),
        inject=(Release("cart", "2.4.0"),),
    ),
    Fault(
        name="memory-leak",
        does="Lets the recommendation service forget nothing of a busy feed, until its memory limit ends it.",
        cause="The recommendation service leaks memory, slows down and is restarted when it reaches its limit.",
        services=("recommendation",),
        kinds=frozenset({CauseKind.MEMORY, CauseKind.RESTARTS}),
        inject=(Turn("recommendation", "feed_per_s", 22000.0),),
    ),
    Fault(
        name="slow-model",
        does="Makes the language model write fifty times slower.",
        cause="The language model takes seconds for each answer.",
        services=("model",),
        kinds=frozenset({CauseKind.SLOW_MODEL}),
        inject=(Turn("model", "slowdown", 50.0),),
    ),
    Fault(
        name="pool-exhausted",
        does="Lets the cart keep every third of its database connections, until its pool of five is empty.",
        cause="The cart leaks database connections; its requests wait for one until they time out.",
        services=("cart",),
        kinds=frozenset({CauseKind.POOL_EXHAUSTED}),
        inject=(Turn("cart", "keep_ratio", 0.34),),
    ),
    Fault(
        name="cache-lost",
        does="Ends the catalogue's cache and leaves it away, so that each product page is made by the database.",
        cause="The catalogue has lost its cache and reads every product page from its database.",
        services=("catalogue", "cache"),
        kinds=frozenset({CauseKind.CACHE, CauseKind.SLOW_DATABASE}),
        inject=(TakeAway("cache"),),
    ),
)
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}


class NoSuchFault(Exception):
    """A name that is not in the table."""

    def __init__(self, name: str) -> None:
        super().__init__(f"fault {name!r}: expected one of {', '.join(FAULTS)}")


def fault(name: str) -> Fault:
    try:
        return FAULTS[name]
    except KeyError:
        raise NoSuchFault(name) from None
