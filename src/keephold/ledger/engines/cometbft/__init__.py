"""The CometBFT engine: the same application, ordered by real CometBFT (v0.38, ABCI 2.0) on more than one machine.

CometBFT is a process beside ours, under our supervision (`process`). It dials four connections to a unix socket
(`server`), speaks length-prefixed protobuf over them (`wire`, `messages`), and every request becomes a call of
`engines.base.Application` (`adapter`). In the other direction we speak JSON-RPC, over a unix socket as well (`rpc`): to
offer transactions, and to collect headers and commits into our own block store. `engine` puts it together.

Needs the extra `cluster` (protobuf) and a `cometbft` binary.
"""
