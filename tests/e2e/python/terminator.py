"""A TLS terminator on a free port, with a certificate of its own: what stands before a gateway in production."""

import asyncio
import datetime
import ipaddress
import os
import socket
import ssl
from threading import Thread
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


def certify(folder):
    """Writes a certificate for this host and its key; returns the path of both."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = os.path.join(folder, "terminator.pem")
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with open(path, "wb") as file:
        file.write(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


async def relay(source, sink):
    """Copies bytes to their end."""
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()


def terminate(base_url, folder):
    """Serves TLS before `base_url`; returns the new address and the path of the certificate."""
    behind = urlsplit(base_url)
    certificate = certify(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server((HOST, 0))

    async def serve(reader, writer):
        far_reader, far_writer = await asyncio.open_connection(behind.hostname, behind.port)
        await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer))

    async def accept():
        server = await asyncio.start_server(serve, sock=listener, ssl=context)
        await server.serve_forever()

    Thread(target=asyncio.run, args=(accept(),), daemon=True).start()
    return f"https://{HOST}:{listener.getsockname()[1]}", certificate
