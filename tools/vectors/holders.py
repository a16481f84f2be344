"""Lists that only grow: who may hold the keys of an epoch, and which epochs a worker was in."""

from __future__ import annotations

from typing import Any, Final

from keephold.base.errors import InputError
from keephold.base.ids import ContractId, PublicKey
from keephold.base.limits import MAX_HISTORY
from keephold.protocol.codec import decode, encode
from keephold.protocol.holders import (
    EpochHolders,
    Holder,
    HoldersPage,
    Tenure,
    Tenures,
    TenuresPage,
    holders_page_path,
    holders_path,
    tenures_page_path,
    tenures_path,
    whole,
)
from vectors.base import Family, Given, Maker, fixed, octets, shown


def _path(given: Given) -> dict[str, Any]:
    match dict(given):
        case {"contract": contract, "epoch": epoch, "page": page}:
            path = holders_page_path(ContractId(bytes.fromhex(contract)), epoch, page)
        case {"contract": contract, "epoch": epoch}:
            path = holders_path(ContractId(bytes.fromhex(contract)), epoch)
        case {"worker": worker, "page": page}:
            path = tenures_page_path(PublicKey(bytes.fromhex(worker)), page)
        case {"worker": worker}:
            path = tenures_path(PublicKey(bytes.fromhex(worker)))
        case _:
            raise InputError("no list")
    return {"path": path.hex()}


def _whole(given: Given) -> dict[str, Any]:
    pages = [bytes.fromhex(page) for page in given["pages"]]
    if given["kind"] == "tenures":
        tenures = decode(octets(given, "head"), Tenures)
        before = [decode(page, TenuresPage).tenures for page in pages]
        return {"entries": [shown(item) for item in whole(tenures.count, before, tenures.newest)]}
    holders = decode(octets(given, "head"), EpochHolders)
    listed = [decode(page, HoldersPage).holders for page in pages]
    return {"entries": [shown(item) for item in whole(holders.count, listed, holders.newest)]}


def _make(maker: Maker) -> None:
    contract, worker = fixed("contract").hex(), fixed("worker").hex()
    maker.add("the holders of an epoch", "path", {"contract": contract, "epoch": 3})
    maker.add("a page of them", "path", {"contract": contract, "epoch": 3, "page": 1})
    maker.add("the tenures of a worker", "path", {"worker": worker})
    maker.add("a page of these", "path", {"worker": worker, "page": 0})
    holders = [Holder(fixed(f"worker {at}"), 7 + at) for at in range(MAX_HISTORY + 1)]

    def given(count: int, newest: int, pages: list[list[Holder]], ended: int = 0) -> Given:
        head = EpochHolders(count, ended, tuple(holders[-newest:] if newest else ()))
        return {
            "kind": "holders",
            "head": encode(head).hex(),
            "pages": [encode(HoldersPage(tuple(page))).hex() for page in pages],
        }

    full = holders[:MAX_HISTORY]
    maker.add("nobody, and ended", "whole", given(0, 0, [], 9))
    maker.add("three of an open epoch", "whole", given(3, 3, []))
    maker.add("one more than a page", "whole", given(MAX_HISTORY + 1, 1, [full], 99))
    refused = "proof_invalid"
    maker.add("a page left out", "whole", given(MAX_HISTORY + 1, 1, []), refused)
    maker.add("a page too many", "whole", given(1, 1, [full]), refused)
    maker.add("a page that is not full", "whole", given(MAX_HISTORY + 1, 1, [full[:-1]]), refused)
    maker.add("the newest left out", "whole", given(MAX_HISTORY + 1, 0, [full]), refused)
    maker.add("one left out of three", "whole", given(3, 2, []), refused)
    tenures = tuple(Tenure(fixed("contract"), epoch) for epoch in (1, 2))
    maker.add("tenures", "whole", {"kind": "tenures", "head": encode(Tenures(2, tenures)).hex(), "pages": []})
    maker.add(
        "tenures in a page",
        "whole",
        {
            "kind": "tenures",
            "head": encode(Tenures(MAX_HISTORY + 2, tenures)).hex(),
            "pages": [encode(TenuresPage(tenures[:1] * MAX_HISTORY)).hex()],
        },
    )


HOLDERS: Final = Family(
    "holders",
    "Lists of who may hold keys: where they lie, and whether a head and its pages are all of one.",
    {"path": _path, "whole": _whole},
    _make,
)
