"""keephold: confidential contracts in Python.

Importing `keephold` gives a contract author's vocabulary and nothing else; it costs the standard library only.
"""

from __future__ import annotations

from keephold.contract import (
    Address,
    Amount,
    Block,
    Call,
    Contract,
    Done,
    Event,
    Failed,
    Interface,
    Key,
    Map,
    Message,
    Outcome,
    PublicView,
    Record,
    Refused,
    Reject,
    Scheme,
    View,
    call,
    init,
    message,
    replace,
    reply,
    require,
    view,
)

__all__ = [
    "Address",
    "Amount",
    "Block",
    "Call",
    "Contract",
    "Done",
    "Event",
    "Failed",
    "Interface",
    "Key",
    "Map",
    "Message",
    "Outcome",
    "PublicView",
    "Record",
    "Refused",
    "Reject",
    "Scheme",
    "View",
    "call",
    "init",
    "message",
    "replace",
    "reply",
    "require",
    "view",
]
