"""The authoring API: what a contract author imports. Standard library only: it also runs inside the sandbox."""

from __future__ import annotations

from keephold.contract.address import Address
from keephold.contract.context import Block, Call, PublicView, View
from keephold.contract.errors import Reject, require
from keephold.contract.keys import Key, Scheme
from keephold.contract.model import Contract, call, init, reply, view
from keephold.contract.records import Event, Record, replace
from keephold.contract.sending import Done, Failed, Interface, Message, Outcome, Refused, message
from keephold.contract.storage import Map
from keephold.contract.values import Amount

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
