"""`keephold`: the commands, and the one boundary that turns errors into a line and an exit status.

Nothing heavy is imported here: commands are named by import path and loaded when they run (`tests/cli` lists what help
may load).

Exit status, one for each class of error (`base/errors.py`):

     0  done                          6  chain_refused: the node's chain or proofs do not hold
     1  unexpected                    7  ledger_refused
     2  usage, input, configuration   8  contract: rejected or failed
     3  keystore                      9  sandbox: the contract's source does not load
     4  crypto                       10  unavailable: retrying may help
     5  attestation_refused          11  enclave
                                     12  halted: starting the node again would not cure it
   130  interrupted                  13  permit_refused
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from cyclopts import App, CycloptsError, Group, UnknownCommandError

from keephold.base.errors import InputError, KeepholdError
from keephold.cli.output import report_error
from keephold.version import __version__

INTERRUPTED: Final = 130
USAGE: Final = 2
UNEXPECTED: Final = 1

app = App(
    name="keephold",
    help="Confidential contracts in Python: state and traffic only the contract itself can read.",
    help_format="plaintext",
    version=__version__,
)
_WRITE, _USE, _LOOK, _OPERATE = (
    Group(title, sort_key=place)
    for place, title in enumerate(("Write contracts", "Use contracts", "Look and verify", "Operate a network"))
)
_GROUPS: Final = {
    **dict.fromkeys(("new", "test", "leaks", "devnet", "demo", "client"), _WRITE),
    **dict.fromkeys(("deploy", "call", "view", "events", "released", "rotate", "account", "permit"), _USE),
    **dict.fromkeys(("show", "verify", "trust", "exposure", "doctor"), _LOOK),
    **dict.fromkeys(("network", "node", "govern", "collateral", "debug"), _OPERATE),
}
"""Under which heading each command is listed."""

account = App(
    name="account",
    group=_GROUPS["account"],
    help="Make, list, import and export accounts of the encrypted keystore.",
    help_format="plaintext",
)

permit = App(
    name="permit",
    group=_GROUPS["permit"],
    help="Let others ask in an account's name, and take that back.",
    help_format="plaintext",
)

network = App(
    name="network",
    group=_GROUPS["network"],
    help="Found a network of several validators, or join one.",
    help_format="plaintext",
)
debug = App(
    name="debug", group=_GROUPS["debug"], help="Look at what should not have happened.", help_format="plaintext"
)
govern = App(
    name="govern",
    group=_GROUPS["govern"],
    help="Amend the law: propose, sign key by key, submit.",
    help_format="plaintext",
)

collateral = App(
    name="collateral",
    group=_GROUPS["collateral"],
    help="Bring what evidence is judged by: it expires.",
    help_format="plaintext",
)

_COMMANDS: Final = (
    ("new", "keephold.cli.new:new", "Make a project: a contract, its test, a deploy script, a CI file."),
    ("test", "keephold.cli.test:run_tests", "Test contracts with pytest, in this process or on a devnet."),
    ("leaks", "keephold.cli.devnet.leaks:leaks", "Find out which arguments shape what an operator sees."),
    ("devnet", "keephold.cli.devnet.command:devnet", "Start a network of simulated enclaves on this machine."),
    (
        "demo",
        "keephold.cli.devnet.demo:demo",
        "Watch a confidential token on a devnet: what outsiders see, what owners see.",
    ),
    ("node", "keephold.cli.node:node", "Run a node of a network, and CometBFT beside it."),
    ("deploy", "keephold.cli.contracts:deploy", "Put a contract on the ledger and set it up."),
    ("client", "keephold.cli.client:client", "Write a typed Python client from a contract's interface."),
    ("call", "keephold.cli.contracts:call", "Call a contract: sealed, ordered, executed, proven."),
    ("view", "keephold.cli.contracts:view", "Ask a contract a question that only it and you can read."),
    ("events", "keephold.cli.events:events", "Print what a contract told an account, and everybody."),
    ("released", "keephold.cli.released:released", "Print a signature that a contract released to an account."),
    ("rotate", "keephold.cli.rotation:rotate", "End a contract's key epoch: who left loses what it could read."),
    ("show", "keephold.cli.inspect:show", "Show what an outsider sees of a network, contract or account."),
    ("verify", "keephold.cli.inspect:verify", "Say who can read a contract, and prove it from the genesis up."),
    ("trust", "keephold.cli.trust:trust", "Say whom a contract rests on: who could read, forge or stop it."),
    ("exposure", "keephold.cli.exposure:exposure", "Say which key epochs a worker may hold, ended ones too."),
    ("doctor", "keephold.cli.doctor:doctor", "Print what a bug report needs."),
)
_ACCOUNT_COMMANDS: Final = (
    ("new", "keephold.cli.accounts:new", "Make an account with a fresh key."),
    ("list", "keephold.cli.accounts:list_", "List accounts; the password is not needed."),
    ("show", "keephold.cli.accounts:show", "Show an account's address."),
    ("import", "keephold.cli.accounts:import_", "Add an account from its seed."),
    ("export", "keephold.cli.accounts:export", "Print an account's seed: whoever reads it is the account."),
)
_PERMIT_COMMANDS: Final = (
    ("new", "keephold.cli.permit:new", "Let whoever holds a key ask contracts in the account's name."),
    ("show", "keephold.cli.permit:show", "Show what a permit allows, and to whom."),
    ("revoke", "keephold.cli.permit:revoke", "Void one permit."),
    ("revoke-all", "keephold.cli.permit:revoke_all", "Void every permit that the account signed so far."),
)
_NETWORK_COMMANDS: Final = (
    ("law", "keephold.cli.network:law", "Print a law file to fill in."),
    ("init", "keephold.cli.network:init", "Write genesis, keys and configurations of a new network of one operator."),
    ("key", "keephold.cli.members:key", "Draw the keys of your node, for a network of several operators."),
    ("assemble", "keephold.cli.members:assemble", "Make the genesis of several operators' nodes; no secret is needed."),
    ("accept", "keephold.cli.members:accept", "Take the assembled network into the directory of your node."),
    ("join", "keephold.cli.network:join", "Write the directory of a node that joins a network by a snapshot."),
)
_GOVERN_COMMANDS: Final = (
    ("show", "keephold.cli.governing:show", "Show the law in force, what waits for its delay, who signed what."),
    ("allow", "keephold.cli.proposing:allow", "Propose to admit a build."),
    ("delist", "keephold.cli.proposing:delist", "Propose to end a build, at once or after a handover."),
    ("attestation", "keephold.cli.proposing:attestation", "Propose vendors, accepted advisories, levels."),
    ("committee", "keephold.cli.proposing:committee", "Propose how many gatekeepers, and how many make a key."),
    ("keys", "keephold.cli.proposing:keys", "Propose who amends the law, how many it takes, the delay."),
    ("validators", "keephold.cli.proposing:validators", "Propose who orders transactions."),
    ("revoke", "keephold.cli.proposing:revoke", "Propose to end a worker or gatekeeper at once."),
    ("cancel", "keephold.cli.proposing:cancel", "Propose to take back an amendment that waits for its delay."),
    ("read", "keephold.cli.governing:read", "Show what a proposal changes; nothing is signed."),
    ("sign", "keephold.cli.governing:sign", "Show a proposal and endorse it with a governance key."),
    ("submit", "keephold.cli.governing:submit", "Put an endorsed proposal on the ledger."),
)
_COLLATERAL_COMMANDS: Final = (
    ("show", "keephold.cli.collateral:show", "Show what the ledger has, and when it expires."),
    ("fetch", "keephold.cli.collateral:fetch", "Fetch collateral from a caching service into a file."),
    ("submit", "keephold.cli.collateral:submit", "Bring files of collateral to the ledger."),
)
for _name, _path, _help in _COMMANDS:
    app.command(_path, name=_name, help=_help, group=_GROUPS[_name])
for _name, _path, _help in _ACCOUNT_COMMANDS:
    account.command(_path, name=_name, help=_help)
for _name, _path, _help in _PERMIT_COMMANDS:
    permit.command(_path, name=_name, help=_help)
for _name, _path, _help in _NETWORK_COMMANDS:
    network.command(_path, name=_name, help=_help)
for _name, _path, _help in _GOVERN_COMMANDS:
    govern.command(_path, name=_name, help=_help)
for _name, _path, _help in _COLLATERAL_COMMANDS:
    collateral.command(_path, name=_name, help=_help)
debug.command("keephold.cli.debug:diff_state", name="diff-state", help="Say where two nodes' states differ.")
app.command(account)
app.command(permit)
app.command(collateral)
app.command(debug)
app.command(govern)
app.command(network)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; errors are printed, as JSON where `--json` asks for it."""
    as_json = "--json" in arguments
    try:
        app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except KeepholdError as error:
        report_error(error.code, str(error), error.exit_status, as_json=as_json)
        return error.exit_status
    except UnknownCommandError as error:
        # Its own text would import every command, to say which one was meant.
        what = " ".join(error.unused_tokens or ())
        report_error(InputError.code, f"no command {what!r}; `keephold --help` lists them", USAGE, as_json=as_json)
        return USAGE
    except CycloptsError as error:
        report_error(InputError.code, str(error), USAGE, as_json=as_json)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone: say nothing more, at interpreter exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNEXPECTED
    except Exception as error:
        if os.environ.get("KEEPHOLD_DEBUG"):
            raise
        text = (
            f"{type(error).__name__}: {error} (KEEPHOLD_DEBUG=1 shows where; please report it with `keephold doctor`)"
        )
        report_error(KeepholdError.code, text, UNEXPECTED, as_json=as_json)
        return UNEXPECTED
    return 0


def main() -> NoReturn:
    """The program."""
    sys.exit(run(sys.argv[1:]))
