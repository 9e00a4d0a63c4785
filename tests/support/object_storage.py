"""An S3-speaking server in this process, on a free port."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

_numbers = itertools.count(1)


@dataclass(frozen=True)
class ObjectStorage:
    """A running server."""

    endpoint: str

    def bucket(self) -> str:
        """A new, empty bucket; its name."""
        name = f"trabecula-test-{next(_numbers)}"
        boto3.client("s3", region_name="us-east-1", endpoint_url=self.endpoint, **_KEYS).create_bucket(Bucket=name)
        return name

    def options_file(self, folder: Path) -> Path:
        """As ``TRABECULA_CONTENT_OPTIONS_FILE`` takes it."""
        file = folder / "content.toml"
        file.write_text(
            f'[store]\nendpoint = "{self.endpoint}"\nregion = "us-east-1"\naccess_key_id = "test"\n'
            'secret_access_key = "test"\n[client]\nallow_http = true\n'
        )
        return file


_KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


def running_storage() -> Iterator[ObjectStorage]:
    """Body of a session's fixture."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield ObjectStorage(f"http://{host}:{port}")
    finally:
        server.stop()
