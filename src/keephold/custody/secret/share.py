"""One gatekeeper's share of the MasterKey with its copy of the pepper, and its form on the sealed disk."""

from __future__ import annotations

from typing import Final, Self, final

from keephold.base.errors import BadKey, BadShare, EncodingError
from keephold.crypto import ristretto
from keephold.crypto.hashing import equal
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.custody.public import dealing
from keephold.protocol.codec import decode, encode
from keephold.protocol.custody import CommitteeKeys

_VERSION: Final = b"\x01"


@final
class Share(Opaque):
    """A share that fits its committee. It deals and answers (`dealer`, `release`); it does not show itself."""

    __slots__ = ("_pepper", "_scalar", "committee", "seat")

    def __init__(self, seat: int, scalar: SecretBytes, pepper: SecretBytes, committee: CommitteeKeys) -> None:
        """Bind a share to the committee that knows it.

        Raises:
            BadShare: the committee has no such seat, another public share there, or another pepper on record.
        """
        public = next((entry.public_share for entry in committee.seats if entry.seat == seat), None)
        if public is None or not equal(public, ristretto.multiply_base(scalar)):
            raise BadShare(f"not the share of seat {seat}")
        dealing.check_pepper(committee.network, pepper, committee.peppers)
        self.seat: Final = seat
        self.committee: Final = committee
        self._scalar: Final = scalar
        self._pepper: Final = pepper

    @property
    def sharing_epoch(self) -> int:
        """Shares of two sharing epochs never combine."""
        return self.committee.sharing_epoch

    def scalar(self) -> SecretBytes:
        """Return the share itself: for `custody.secret` only."""
        return self._scalar

    def pepper(self) -> SecretBytes:
        """Return the network pepper N, the concatenation of its parts: for `custody.secret` only."""
        return self._pepper

    def wipe(self) -> None:
        """Overwrite share and pepper: after the successor's switch is proven final, and not before."""
        self._scalar.wipe()
        self._pepper.wipe()

    def to_sealed_bytes(self) -> SecretBytes:
        """Return the share for the sealed disk: version, seat (2), scalar (32), pepper (2 + n), committee record."""
        pepper = self._pepper.reveal()
        return SecretBytes(
            b"".join(
                (
                    _VERSION,
                    self.seat.to_bytes(2, "big"),
                    self._scalar.reveal(),
                    len(pepper).to_bytes(2, "big"),
                    pepper,
                    encode(self.committee),
                )
            )
        )

    @classmethod
    def from_sealed_bytes(cls, sealed: SecretBytes) -> Self:
        """Return the share again; whatever the disk gave back is checked against the committee inside it.

        Whether that committee is the one in office only the ledger can say: the caller compares.

        Raises:
            BadShare: cut, of another version, or not the share of its seat.
        """
        raw = sealed.reveal()
        pepper_end = 37 + int.from_bytes(raw[35:37], "big")
        if raw[:1] != _VERSION or len(raw) < pepper_end:
            raise BadShare("not a stored share")
        try:
            committee = decode(raw[pepper_end:], CommitteeKeys)
            scalar = ristretto.decode_secret_scalar(SecretBytes(raw[3:35]))
        except (BadKey, EncodingError) as error:
            raise BadShare("not a stored share") from error
        return cls(int.from_bytes(raw[1:3], "big"), scalar, SecretBytes(raw[37:pepper_end]), committee)
