"""A certificate for a page that is served here: made on this machine, signed by itself, kept for the next time."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
from pathlib import Path
from typing import Any

from vla_ros.errors import DeviceError

VALID = 365  # [days]
SPARE = 7  # [days] before its end at which it is made anew
NEEDS = "needs the Python package 'cryptography': pip install 'vla_ros[mocap]'"


def default_folder() -> Path:
    """Return where certificates are kept by default."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(data) / "vla_ros" / "certificate"


def own_address() -> str:
    """Return this machine's address in its network; the loopback address where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of no machine (RFC 5737), and nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def tls_context(folder: Path, names: tuple[str, ...]) -> ssl.SSLContext:
    """Return a server's TLS settings with a certificate for `names`, host names or addresses; kept in `folder`.

    Raises DeviceError where it can be neither read nor made.
    """
    file = folder / "vla_ros.pem"
    try:
        if not _fits(file, names):
            _make(file, names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
    except (OSError, ssl.SSLError) as error:
        raise DeviceError(
            f"certificate {file}: {error.strerror or error}; remove it, or name a folder by cert="
        ) from None
    return context


def _fits(file: Path, names: tuple[str, ...]) -> bool:
    """Return whether the file has a certificate that is valid for a while and for all the names."""
    x509 = _x509()
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    known = {str(name.value) for name in alternative}
    until = certificate.not_valid_after_utc - datetime.timedelta(days=SPARE)
    return set(names) <= known and datetime.datetime.now(datetime.timezone.utc) < until


def _make(file: Path, names: tuple[str, ...]) -> None:
    x509 = _x509()
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vla_ros")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID))
        .add_extension(x509.SubjectAlternativeName([_name(x509, name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(f".{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
        opened.write(secret + certificate.public_bytes(serialization.Encoding.PEM))
    fresh.replace(file)


def _name(x509: Any, name: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _x509() -> Any:
    try:
        from cryptography import x509
    except ImportError:
        raise DeviceError(f"a certificate {NEEDS}") from None
    return x509
