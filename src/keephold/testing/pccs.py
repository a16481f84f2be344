"""A caching service of collateral on loopback, which answers as a PCCS does, from collateral that it is given."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import quote

from keephold.protocol.evidence import Collateral, CollateralSubject
from keephold.testing.ports import LOOPBACK

Answer = tuple[bytes, dict[str, str]]
_V4: Final = "certification/v4"


def answers_for(collateral: Collateral, subject: CollateralSubject) -> dict[str, Answer]:
    """Return what the service says about one kind of platform, by path and query."""
    tee, chains = subject.tee, {
        "pck": {"SGX-PCK-CRL-Issuer-Chain": quote(collateral.pck_crl_issuer_chain)},
        "tcb": {"TCB-Info-Issuer-Chain": quote(collateral.tcb_info_issuer_chain)},
        "qe": {"SGX-Enclave-Identity-Issuer-Chain": quote(collateral.qe_identity_issuer_chain)},
    }  # fmt: skip
    return {
        f"/sgx/{_V4}/pckcrl?ca={subject.authority}&encoding=der": (collateral.pck_crl, chains["pck"]),
        f"/sgx/{_V4}/rootcacrl": (collateral.root_ca_crl.hex().encode(), {}),
        f"/{tee}/{_V4}/tcb?fmspc={subject.fmspc.hex()}": (
            _signed("tcbInfo", collateral.tcb_info, collateral.tcb_info_signature), chains["tcb"],
        ),
        f"/{tee}/{_V4}/qe/identity": (
            _signed("enclaveIdentity", collateral.qe_identity, collateral.qe_identity_signature), chains["qe"],
        ),
    }  # fmt: skip


@contextmanager
def pccs(answers: Mapping[str, Answer], port: int = 0) -> Iterator[str]:
    """Serve `answers` until the end of the block; yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, headers = answers.get(self.path, (b"", {"X-Missing": "yes"}))
            self.send_response(404 if "X-Missing" in headers else 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((LOOPBACK, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _signed(name: str, document: str, signature: bytes) -> bytes:
    """Return the envelope; the document stands in it as it was signed, character by character."""
    return f'{{"{name}":{document},"signature":{json.dumps(signature.hex())}}}'.encode()
