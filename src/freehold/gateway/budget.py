"""What was spent and what is reserved, for each day and each month of UTC. Money is micro-units."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

_DAY_S = 86_400
_EPOCH = date(1970, 1, 1)
_KEPT = 3
"""So many of the newest days, and of the newest months, are kept. Yesterday's requests may still come and go; and a
clock that jumps ahead once and comes back shall not lose what was spent today."""


class Book:
    """The money of one day or one month, by subject (`scope:id`). Who spent nothing does not stand in it.

    Args:
        name: such as `2026-11-24` or `2026-11`.
        ends_at: the moment after it, seconds since the epoch.
    """

    __slots__ = ("ends_at", "name", "open", "reserved", "spent", "unsaid")

    def __init__(self, name: str, ends_at: int, *, told: bool = False) -> None:
        self.name = name
        self.ends_at = ends_at
        self.spent: dict[str, int] = {}
        self.reserved: dict[str, int] = {}
        self.open = 0
        """Grants that hold a reservation in it."""
        self.unsaid: set[str] | None = set() if told else None
        """Who has spent something of which the other gateways do not know yet, where there are such."""

    def reserve(self, keys: Iterable[str], micro: int) -> None:
        """Set money aside for one grant, of each subject."""
        self.open += 1
        reserved = self.reserved
        for key in keys:
            reserved[key] = reserved.get(key, 0) + micro

    def release(self, keys: Iterable[str], micro: int) -> None:
        """Give back what was set aside for one grant."""
        self.open -= 1
        reserved = self.reserved
        for key in keys:
            left = reserved[key] - micro
            if left:
                reserved[key] = left
            else:
                del reserved[key]

    def spend(self, keys: Iterable[str], micro: int) -> None:
        """Count money as spent, of each subject."""
        spent = self.spent
        for key in keys:
            spent[key] = spent.get(key, 0) + micro
        if self.unsaid is not None:
            self.unsaid.update(keys)

    def settle(self, keys: Iterable[str], micro: int, spent_micro: int) -> None:
        """`release` what was set aside for one grant, and `spend` a part of it."""
        self.open -= 1
        reserved, spent = self.reserved, self.spent
        for key in keys:
            left = reserved[key] - micro
            if left:
                reserved[key] = left
            else:
                del reserved[key]
            spent[key] = spent.get(key, 0) + spent_micro
        if self.unsaid is not None:
            self.unsaid.update(keys)

    def has_room(self, key: str, micro: int, budget: int) -> bool:
        """Whether a subject's budget has room, by what this gateway knows."""
        return self.spent.get(key, 0) + self.reserved.get(key, 0) + micro <= budget

    def use(self, key: str) -> tuple[int, int]:
        """What is spent and reserved, and what is spent."""
        spent = self.spent.get(key, 0)
        return spent + self.reserved.get(key, 0), spent


class Books:
    """The books that can still matter.

    Args:
        told: whether other gateways are told what is spent.
    """

    def __init__(self, *, told: bool = False) -> None:
        self._told = told
        self._by_name: dict[str, Book] = {}
        self._by_day: dict[int, tuple[Book, Book]] = {}

    def at(self, when_s: float) -> tuple[Book, Book]:
        """The books of the day and of the month of a time (seconds since the epoch)."""
        number = int(when_s // _DAY_S)
        return self._by_day.get(number) or self._begin(number)

    def restore(self, spent: Mapping[str, Mapping[str, int]]) -> None:
        """Take over what was spent, by the names of days and months and by subject."""
        for name, amounts in spent.items():
            is_month = name.count("-") == 1
            day = date.fromisoformat(f"{name}-01" if is_month else name)
            book = self._month(day) if is_month else self._day(day)
            book.spent.update(amounts)
            if book.unsaid is not None:
                book.unsaid.update(amounts)

    def learn(self, spent: Mapping[tuple[str, str], int]) -> None:
        """Know what was spent at least, by the names of days and months and by subject; of those that are kept."""
        for (name, key), micro in spent.items():
            book = self._by_name.get(name)
            if book is not None and micro > book.spent.get(key, 0):
                book.spent[key] = micro

    def all(self) -> list[Book]:
        """Every book that is kept."""
        return list(self._by_name.values())

    def named(self, name: str) -> Book | None:
        """The book of a day (`2026-11-24`) or a month (`2026-11`), if it is kept."""
        return self._by_name.get(name)

    def _begin(self, number: int) -> tuple[Book, Book]:
        """The books of a day, new or not; old ones are dropped."""
        today = _EPOCH + timedelta(days=number)
        pair = (self._day(today), self._month(today))
        self._by_day[number] = pair
        self._drop(pair)
        return pair

    def _day(self, day: date) -> Book:
        return self._book(day.isoformat(), day + timedelta(days=1))

    def _month(self, day: date) -> Book:
        return self._book(f"{day:%Y-%m}", (day.replace(day=28) + timedelta(days=4)).replace(day=1))

    def _book(self, name: str, after: date) -> Book:
        return self._by_name.setdefault(name, Book(name, (after - _EPOCH).days * _DAY_S, told=self._told))

    def _drop(self, wanted: tuple[Book, Book]) -> None:
        """Forget all but the newest days and months, those in which something is reserved, and the wanted ones."""
        names = sorted(self._by_name)
        days = [name for name in names if name.count("-") == 2]
        months = [name for name in names if name.count("-") == 1]
        for name in (*days[:-_KEPT], *months[:-_KEPT]):
            book = self._by_name[name]
            if not book.open and book not in wanted:
                del self._by_name[name]
        self._by_day = {
            number: pair for number, pair in self._by_day.items() if all(book.name in self._by_name for book in pair)
        }
