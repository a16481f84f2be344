"""Fail when a file passes 500 lines or a function 100: size is where reviews go to die."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

FILE_LIMIT = 500
FUNCTION_LIMIT = 100


def offences(path: Path) -> list[str]:
    """Return one line for each limit that `path` breaks."""
    source = path.read_text()
    lines = source.count("\n")
    found = [f"{path}: {lines} lines (limit {FILE_LIMIT})"] if lines > FILE_LIMIT else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LIMIT:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines (limit {FUNCTION_LIMIT})")
    return found


def main() -> int:
    """Check every tracked Python file."""
    listed = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True).stdout.split()
    found = [line for name in listed if Path(name).exists() for line in offences(Path(name))]
    print("\n".join(found) if found else f"sizes: {len(listed)} files within limits")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
