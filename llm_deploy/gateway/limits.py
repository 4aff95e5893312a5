"""What a key may use: rates as token buckets, budgets as shares of what is left. Pure: the time is an argument.

Several gateway processes may serve one key. A rate is divided by their number. A budget is handed out by the database
in grants, see `Budget`.
"""

from __future__ import annotations

from typing import Final

SECONDS_A_MINUTE: Final = 60.0
SECONDS_A_DAY: Final = 86_400
ROUNDING: Final = 1e-6
"""What a level may lack through rounding, in tokens."""
CREDIT_SHARE: Final = 20
"""A twentieth of a budget may be used before the database has granted it, by all processes together."""
FOREVER: Final = 0
"""The window of a budget that is never renewed; days are numbered from 1970, UTC, and are larger."""


class Bucket:
    """A rate of so many a minute. It starts full with one minute's worth, and refills evenly.

    An amount above the capacity passes when the bucket is full, and leaves it in debt, so that a large request is
    possible at all and the rate holds all the same: in any `t` seconds at most `capacity + rate * t + largest` pass.
    """

    __slots__ = ("at_s", "capacity", "level", "rate_per_s")

    def __init__(self, per_minute: float, now_s: float) -> None:
        self.capacity = per_minute
        self.rate_per_s = per_minute / SECONDS_A_MINUTE
        self.level = per_minute
        self.at_s = now_s

    def wait_s(self, amount: float, now_s: float) -> float:
        """How long until this amount passes, if nothing else does; 0 for now. Nothing is taken.

        A clock that steps back refills nothing, and what it repeats refills nothing either.
        """
        if now_s > self.at_s:
            self.level = min(self.capacity, self.level + (now_s - self.at_s) * self.rate_per_s)
            self.at_s = now_s
        lacking = min(amount, self.capacity) - self.level
        if lacking <= ROUNDING:
            return 0.0
        return lacking / self.rate_per_s

    def take(self, amount: float) -> None:
        """Take what `wait_s` has let pass; a negative amount is given back."""
        self.level = min(self.capacity, self.level - amount)

    def resize(self, per_minute: float) -> None:
        """Another rate: what is in the bucket changes in proportion, so that processes that share a key divide it."""
        self.level *= per_minute / self.capacity
        self.capacity = per_minute
        self.rate_per_s = per_minute / SECONDS_A_MINUTE


class Budget:
    """The part that one process has in a budget, in one window (a day, or for ever).

    `granted` is what the database has set aside for this process. What does not fit into it may still pass on credit,
    while the database is asked for more: until this process's part of a twentieth of the budget is used up, and never
    beyond what was free when the database last answered. So all processes together let pass at most the budget, a
    twentieth of it, and one request each; a process that is alone, exactly the budget. What a request costs beyond its
    estimate comes on top.

    Attributes:
        window: Number of the day, or `FOREVER`.
        limit: Tokens of all processes in this window.
        spent: Tokens that settled requests did cost here.
        reserved: Tokens that requests in flight may cost here.
        granted: Tokens that may be spent and reserved here.
        free: Tokens that were granted to nobody when the database last answered.
        elsewhere: Tokens that others had been granted and had not spent.
        credit: Tokens beyond `granted`.
    """

    __slots__ = ("credit", "elsewhere", "free", "granted", "limit", "reserved", "spent", "window")

    def __init__(self, window: int, limit: int) -> None:
        self.window = window
        self.limit = limit
        self.spent = self.reserved = self.granted = self.elsewhere = self.credit = 0
        self.free = limit

    def share(self, processes: int, *, sole: bool, offline: bool) -> None:
        """Set the credit. While the database does not answer, each process goes on with its part of what was free."""
        if sole:
            self.credit = self.limit
            return
        self.credit = self.limit // (CREDIT_SHARE * processes)
        if offline:
            self.credit = max(self.credit, self.free // processes)

    @property
    def claimed(self) -> int:
        """Spent or reserved."""
        return self.spent + self.reserved

    def fits(self, tokens: int) -> bool:
        """Whether a request of so many tokens may pass now. Nothing is taken."""
        owed = self.spent + self.reserved - self.granted
        if owed + tokens <= 0:
            return True
        return owed + tokens <= self.free and owed <= self.credit

    def may_fit_soon(self, tokens: int) -> bool:
        """Whether it could pass in this window, when requests in flight turn out cheaper or others give back."""
        return self.spent + tokens <= self.granted + max(self.free, 0) + self.elsewhere

    def settle(self, reserved: int, cost: int) -> None:
        """A request has ended: what it had reserved, and what it did cost."""
        self.reserved -= reserved
        self.spent += cost

    def shrink(self, *, idle: bool) -> int:
        """Give back half of what is granted and not in use, or all when idle; returns what is kept.

        It counts from now on, before the database knows: what was given back is never used while others take it.
        """
        unused = max(0, self.granted - self.claimed)
        self.granted -= unused if idle else unused // 2
        return self.granted

    def grant(self, granted: int, free: int, elsewhere: int) -> None:
        """What the database has answered."""
        self.granted, self.free, self.elsewhere = granted, free, elsewhere


def day(now_s: float, last: int = 0) -> int:
    """The number of the UTC day. A clock that steps back over midnight, by a day at most, stays in the later day."""
    today = int(now_s // SECONDS_A_DAY)
    return last if last == today + 1 else today


def grant_for(*, limit: int, claimed: int, kept: int, others: int, processes: int) -> int:
    """What a process is granted: what it has claimed, and an equal part of half of what is left.

    Half stays free for who asks next. `kept` is what the process did not give back; it is never taken away.
    """
    left = max(0, limit - others - claimed)
    return max(kept, claimed + left // (2 * processes))
