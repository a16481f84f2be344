"""Write `src/keephold/crypto/_sodium.py`: libsodium's declarations as cffi reads them, parsed once instead of at start.

Parsing C costs every program 0.1 s and more. The definitions are these; a test asks that the file is what they yield.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cffi

DEFINITIONS = """
int sodium_init(void);
const char *sodium_version_string(void);
int crypto_core_ristretto255_is_valid_point(const unsigned char *p);
int crypto_core_ristretto255_add(unsigned char *r, const unsigned char *p, const unsigned char *q);
int crypto_core_ristretto255_sub(unsigned char *r, const unsigned char *p, const unsigned char *q);
int crypto_core_ristretto255_from_hash(unsigned char *p, const unsigned char *r);
void crypto_core_ristretto255_scalar_add(unsigned char *z, const unsigned char *x, const unsigned char *y);
void crypto_core_ristretto255_scalar_sub(unsigned char *z, const unsigned char *x, const unsigned char *y);
void crypto_core_ristretto255_scalar_mul(unsigned char *z, const unsigned char *x, const unsigned char *y);
void crypto_core_ristretto255_scalar_reduce(unsigned char *r, const unsigned char *s);
int crypto_scalarmult_ristretto255(unsigned char *q, const unsigned char *n, const unsigned char *p);
int crypto_scalarmult_ristretto255_base(unsigned char *q, const unsigned char *n);
"""
TARGET = Path(__file__).parents[1] / "src" / "keephold" / "crypto" / "_sodium.py"


def generated() -> str:
    """Return the text of the module."""
    builder = cffi.FFI()
    builder.cdef(DEFINITIONS)
    builder.set_source("keephold.crypto._sodium", None)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "sodium.py"
        builder.emit_python_code(str(path))
        return path.read_text()


def main() -> int:
    """Write the module."""
    TARGET.write_text(generated())
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
