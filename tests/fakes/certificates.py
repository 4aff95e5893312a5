"""Certificates that are made for one test, by the openssl program."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def server_context(folder: Path, names: str = "IP:127.0.0.1,DNS:localhost") -> tuple[ssl.SSLContext, Path]:
    """A server's context for these names, and the file with the certificate, which is its own authority."""
    certificate, key = folder / "server.pem", folder / "server.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]
    subject = ["-subj", "/CN=a test", "-addext", f"subjectAltName={names}"]
    subprocess.run(
        [*command, *subject, "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True, timeout=30
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
