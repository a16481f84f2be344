"""A coverage-guided campaign over every parser (`make fuzz`): libFuzzer through atheris, one process a parser.

    python tools/fuzz/campaign.py [--seconds N] [NAME…]

What it finds is left in `fuzz-findings/NAME/`: an input that raised something undeclared, took longer than ten seconds
or more than two gigabytes. Such an input becomes a test beside the code that it broke.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

_TOOLS: Final = Path(__file__).resolve().parents[1]
_FINDINGS: Final = Path("fuzz-findings")
_GRACE_SECONDS: Final = 300
"""For imports under instrumentation, on a busy machine."""
_HANG_SECONDS: Final = 10
_MEMORY_MB: Final = 2048
_MAX_INPUT: Final = 1 << 14


def fuzz(name: str, corpus: str, findings: str, seconds: int) -> None:
    """Fuzz one parser in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["keephold"], enable_loader_override=False):
        from fuzz.parsers import PARSERS
    parser = PARSERS[name]
    for index, raw in enumerate(parser.samples):
        (Path(corpus) / f"sample-{index}").write_bytes(raw)
    limits = [f"-max_total_time={seconds}", f"-timeout={_HANG_SECONDS}", f"-rss_limit_mb={_MEMORY_MB}"]
    output = [f"-artifact_prefix={findings}/", f"-max_len={_MAX_INPUT}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *output, corpus], parser.feed)
    atheris.Fuzz()


def campaign(name: str, seconds: int) -> tuple[str, str, bool]:
    """Fuzz one parser in a process of its own; return its name, what happened, and whether that is well."""
    findings = _FINDINGS / name
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, __file__, "--child", name, corpus, str(findings), str(seconds)]
        environment = {**os.environ, "PYTHONPATH": str(_TOOLS)}
        try:
            child = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return name, f"did not end {_GRACE_SECONDS} seconds after it should have", False
        kept = len(list(Path(corpus).iterdir()))
    if child.returncode != 0:
        why = [line for line in child.stderr.splitlines() if "Error" in line or "ERROR" in line]
        return name, f"FOUND in {findings}: {why[0] if why else child.stderr[-300:]}", False
    if not any(findings.iterdir()):
        findings.rmdir()
    runs = [line.rpartition(" ")[2] for line in child.stderr.splitlines() if "number_of_executed_units" in line]
    return name, f"{runs[0] if runs else '?':>9} inputs, {kept:>5} kept for what they reach", True


def main() -> int:
    """Run the campaign; return 1 if anything was found."""
    if sys.argv[1:2] == ["--child"]:
        name, corpus, findings, seconds = sys.argv[2:]
        fuzz(name, corpus, findings, int(seconds))
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("names", nargs="*", metavar="NAME", help="parsers; all of them if none is named")
    reader.add_argument("--seconds", type=int, default=20, help="for each parser")
    options = reader.parse_args()
    sys.path.insert(0, str(_TOOLS))
    from fuzz.parsers import PARSERS

    if unknown := set(options.names) - PARSERS.keys():
        reader.error(f"no parser called {', '.join(sorted(unknown))}; there are {', '.join(PARSERS)}")
    names = options.names or list(PARSERS)
    is_well = True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda name: campaign(name, options.seconds), names)
        for index, (name, said, well) in enumerate(done, 1):
            print(f"[{index:>3}/{len(names)}] {name:<48} {said}", flush=True)
            is_well = is_well and well
    print("nothing was found" if is_well else f"inputs that were found lie in {_FINDINGS}/")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
