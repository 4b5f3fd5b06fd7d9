"""What stands for Azure around a deployment: its Blob Storage by its own name over TLS, and its managed identity.

The names of Azure's hosts lead to Azurite by a proxy, so that the processes run as they would there: with no key, and with
URLs that dagster-azure makes of an account's name.
"""

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme
from azure.storage.blob import BlobServiceClient

from onnx_pipeline_tests.azure.azurite import ACCOUNT, KEY, running_azurite
from onnx_pipeline_tests.engines.test_proxies import Tunnels

__all__ = ["AzureStand", "azure_stand"]


@dataclass(frozen=True)
class AzureStand:
    """Where it is, as environment variables of a process that is to find it."""

    account: str
    container: str
    environment: dict[str, str]
    port: int
    authority: str

    def blobs(self) -> dict[str, bytes]:
        """Everything in the container, by the account's key."""
        url = f"https://127.0.0.1:{self.port}/{self.account}"
        with BlobServiceClient(url, credential=KEY, connection_verify=self.authority) as client:
            container = client.get_container_client(self.container)
            return {name: container.download_blob(name).readall() for name in container.list_blob_names()}


def _token(resource: str) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    tenant, now = "00000000-0000-0000-0000-000000000001", int(time.time())
    claims = {
        "aud": resource, "iss": f"https://sts.windows.net/{tenant}/", "iat": now, "nbf": now - 60, "exp": now + 3600,
        "tid": tenant, "oid": tenant,
    }  # fmt: skip
    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.{part({'of': 'a test'})}"


class _Identity(http.server.BaseHTTPRequestHandler):
    """The endpoint of a managed identity, as App Service and Container Apps have it."""

    def do_GET(self) -> None:
        answer = {
            "access_token": _token("https://storage.azure.com/"), "expires_on": str(int(time.time()) + 3600),
            "resource": "https://storage.azure.com/", "token_type": "Bearer",
        }  # fmt: skip
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def azure_stand(folder: Path, container: str) -> Iterator[AzureStand]:
    """Start it, with an empty container."""
    authority = trustme.CA()
    ca, key, certificate = (folder / name for name in ("ca.pem", "key.pem", "certificate.pem"))
    authority.cert_pem.write_to_path(str(ca))
    issued = authority.issue_cert(f"{ACCOUNT}.blob.core.windows.net", "127.0.0.1")
    issued.private_key_pem.write_to_path(str(key))
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    identity = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Identity)
    threading.Thread(target=identity.serve_forever, daemon=True).start()
    tls = ("--cert", str(certificate), "--key", str(key), "--oauth", "basic")
    with running_azurite(folder, *tls) as azurite:
        tunnels = Tunnels(azurite.port)
        try:
            environment = {
                "HTTPS_PROXY": f"http://127.0.0.1:{tunnels.port}",
                "NO_PROXY": "127.0.0.1,localhost",
                "REQUESTS_CA_BUNDLE": str(ca),
                "IDENTITY_ENDPOINT": f"http://127.0.0.1:{identity.server_port}/token",
                "IDENTITY_HEADER": "of-a-test",
            }
            stand = AzureStand(ACCOUNT, container, environment, azurite.port, str(ca))
            url = f"https://127.0.0.1:{azurite.port}/{ACCOUNT}"
            with BlobServiceClient(url, credential=KEY, connection_verify=str(ca)) as client:
                client.create_container(container)
            yield stand
        finally:
            tunnels.close()
            identity.shutdown()
            identity.server_close()
