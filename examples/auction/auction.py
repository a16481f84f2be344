"""A sealed-bid auction: nobody but a bidder learns what he bid, except the winner's bid, when it is over."""

from keephold import Address, Amount, Call, Contract, Event, Map, PublicView, Record, View, call, init, require, view

_SECOND = 1_000_000_000


class Outcome(Record):
    """What everybody learns."""

    winner: Address | None
    """None: nothing was sold."""
    price: Amount


class Closed(Event):
    """The auction is over."""

    outcome: Outcome


class Bid(Record):
    """One bid."""

    bidder: Address
    amount: Amount


class Auction(Contract, pad=(512,)):
    """One item, one round, sealed bids. The highest bid from the reserve up wins and is the price.

    Public is that an account called, when, and whether the call changed anything. Every accepted bid writes the same
    three slots of the same size, whatever it is worth: no slot is kept for "the best so far", because a write to it
    would tell who leads, and a bid below the reserve is taken like any other.
    """

    item: str
    seller: Address
    reserve: Amount
    closes_ns: int
    count: int = 0
    bids: Map[int, Bid]
    placed: Map[Address, int]
    """Which of the bids is whose."""
    outcome: Outcome | None = None

    @init
    def setup(self, ctx: Call, item: str, reserve: Amount, seconds: int) -> None:
        """Offer `item` for `seconds`; the reserve stays secret."""
        require(seconds > 0, "bad_duration")
        self.item = item
        self.seller = ctx.sender
        self.reserve = reserve
        self.closes_ns = ctx.block.time_ns + seconds * _SECOND

    @call
    def bid(self, ctx: Call, amount: Amount) -> None:
        """Bid `amount`, once: what was bid stands."""
        require(ctx.block.time_ns < self.closes_ns, "too_late")
        require(ctx.sender != self.seller, "own_auction")
        require(ctx.sender not in self.placed, "already_bid")
        require(amount > 0, "no_bid")
        self.count += 1
        self.bids[self.count] = Bid(ctx.sender, amount)
        self.placed[ctx.sender] = self.count

    @call
    def close(self, ctx: Call) -> Outcome:
        """End the auction, once its time is over; anybody may. Of equal bids the earliest wins."""
        require(ctx.block.time_ns >= self.closes_ns, "still_open")
        require(self.outcome is None, "closed")
        best = Bid(self.seller, 0)
        for number in range(1, self.count + 1):
            bid = self.bids[number]
            if bid.amount >= self.reserve and bid.amount > best.amount:
                best = bid
        outcome = Outcome(best.bidder if best.amount else None, best.amount)
        self.outcome = outcome
        ctx.emit(Closed(outcome), to="public")
        return outcome

    @view(scope="bid")
    def my_bid(self, ctx: View) -> Amount:
        """Return what the reader bid; 0 for nothing."""
        number = self.placed.get(ctx.reader, 0)
        return self.bids[number].amount if number else 0

    @view(public=True)
    def result(self, ctx: PublicView) -> Outcome:
        """Return winner and price, once it is over."""
        require(self.outcome is not None, "still_open")
        return self.outcome or Outcome(None, 0)

    @view(public=True)
    def offer(self, ctx: PublicView) -> tuple[str, int]:
        """Return the item and the block time, in nanoseconds, from which no bid is taken."""
        return self.item, self.closes_ns
