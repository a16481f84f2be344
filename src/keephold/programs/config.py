"""Configuration and logs that all programs share: TOML in, JSON lines out.

A configuration file is refused for an unknown key as for a wrong type: a misspelt option is not a default. Secrets are
never in it, only the files that hold them.

Logs are JSON lines on stderr, one event each. What could be a secret is cut before it is written: fields by their
name, and any long run of hexadecimal digits that is not in a field known to be public.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import tomllib
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec

from keephold.base.errors import BadKey, ConfigurationError, EncodingError, KeepholdError
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode
from keephold.protocol.genesis import Genesis

T = TypeVar("T", bound=msgspec.Struct)

PUBLIC_FIELDS: Final = frozenset({"contract", "identity", "instance", "network", "transaction", "url"})
"""Fields that are written whole."""

_SECRET_NAME: Final = re.compile(r"seed|secret|share|private|password|token", re.IGNORECASE)
_LONG_HEX: Final = re.compile(r"[0-9a-fA-F]{33,}")
_SHOWN: Final = 16
_FIELDS: Final = "keephold_fields"
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; anything else came as `extra`."""


def load(path: Path, kind: type[T]) -> T:
    """Return the configuration in a TOML file.

    Raises:
        ConfigurationError: no such file, no TOML, an unknown key, or a value of another type; the message names it.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), kind)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def read_genesis(path: Path) -> Genesis:
    """Return the genesis in a file: its canonical bytes, whose hash is the network id.

    Raises:
        ConfigurationError
    """
    try:
        return decode(path.read_bytes(), Genesis)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except EncodingError as error:
        raise ConfigurationError(f"{path}: not a genesis: {error}") from error


def read_signing_key(path: Path) -> SigningKey:
    """Return the key whose seed a file holds: 32 bytes, or 64 hexadecimal digits.

    Raises:
        ConfigurationError
    """
    try:
        raw = path.read_bytes()
        seed = raw if len(raw) == 32 else bytes.fromhex(raw.decode("ascii").strip())
        return SigningKey(SecretBytes(seed))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except (BadKey, ValueError):
        # Without the cause: its text may quote the file.
        raise ConfigurationError(f"{path}: not a 32-byte seed") from None


def redacted(text: str) -> str:
    """Return text with long runs of hexadecimal digits cut to their beginning."""
    return _LONG_HEX.sub(lambda match: match.group()[:_SHOWN] + "…", text)


def event(logger: logging.Logger, name: str, /, level: int = logging.INFO, **fields: object) -> None:
    """Log an event with fields."""
    logger.log(level, name, extra={_FIELDS: fields})


@final
class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, event, fields, and of an error its code and text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": redacted(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name == _FIELDS:
                line |= {field: _shown(field, inner) for field, inner in value.items()}
            elif name not in _STANDARD:
                line[name] = _shown(name, value)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line["error"] = error.code if isinstance(error, KeepholdError) else type(error).__name__
            line["detail"] = redacted(str(error))
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send every logger's records to stderr, as JSON lines; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("keephold").setLevel(level)


def _shown(name: str, value: object) -> object:
    if _SECRET_NAME.search(name) or isinstance(value, SecretBytes):
        return "[redacted]"
    if isinstance(value, bytes):
        value = value.hex()
    if isinstance(value, bool | int | float):
        return value
    return str(value) if name in PUBLIC_FIELDS else redacted(str(value))
