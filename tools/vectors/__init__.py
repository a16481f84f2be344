"""The vectors of the specification: made by the production encoders, judged by the production decoders.

    PYTHONPATH=tools python -m vectors

Each file of docs/spec/vectors is one family: functions by name, and cases. A case is a function, what it is given, its
outcome (`accept`, or the code of the error, with its reason behind a slash), and what came out. Bytes are hexadecimal.

Seals to a public key and sr25519 signatures are random. They are kept as recorded for as long as they still open to
what they are meant to hold, so that making the files anew changes nothing by itself.
"""
