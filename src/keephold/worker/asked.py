"""Orders that a contract's core gave and that are under way: each is given once, until it is answered or failed.

Of most kinds there is one order at a time, and a new one takes the place of the one before: what answers that comes
too late. Keys and other contracts are asked for one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from keephold.worker.orders import FetchKey, FetchPeer, Order


@final
class Asked:
    """The orders of one contract that wait for their answers."""

    def __init__(self) -> None:
        self._orders: Final[dict[object, Order]] = {}

    def once(self, order: Order) -> list[Order]:
        """Return the order to be given, or nothing: it is under way."""
        if self.waits(order):
            return []
        self._orders[_place(order)] = order
        return [order]

    def waits(self, order: Order) -> bool:
        """Say whether this very order is under way."""
        return self._orders.get(_place(order)) == order

    def waits_for(self, kind: type[Order]) -> bool:
        """Say whether an order of this kind is under way, of which there is one at a time."""
        return kind in self._orders

    def answered(self, kind: type[Order]) -> bool:
        """Let the only order of a kind be given again; say whether it was under way."""
        return self._orders.pop(kind, None) is not None

    def over(self, order: Order) -> None:
        """Let this very order be given again; one that took its place stays."""
        if self.waits(order):
            del self._orders[_place(order)]

    def forget(self, is_over: Callable[[Order], bool]) -> None:
        """Let all orders be given again of which this is true."""
        for order in [order for order in self._orders.values() if is_over(order)]:
            self.over(order)


def _place(order: Order) -> object:
    """Return what an order is the only one of."""
    return order if isinstance(order, FetchKey | FetchPeer) else type(order)
