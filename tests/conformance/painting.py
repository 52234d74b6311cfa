"""What the conformance tests of pictures share: a painter's configuration, and ways to send and read files."""

import base64
import io
from typing import Any

from tests.gateway.pictures import opened
from tests.service import Service

CONFIG = """
[server]
starter = false

[[deployment]]
name = "painter"
engine = "echo"
model = "echo"
task = "images"
aliases = ["dall-e-2", "gpt-image-1"]
price = { image = "0.02" }

[[deployment]]
name = "plain"
engine = "echo"
model = "echo"
task = "images"
options = { without = ["image_quality", "image_style", "image_background", "image_edits", "seed"] }

[[deployment]]
name = "writer"
engine = "echo"
model = "echo"
"""


def files(answer: Any) -> list[bytes]:
    """The files in an answer with base64."""
    return [base64.b64decode(image.b64_json) for image in answer.data]


def pixels(answer: Any) -> list[bytes]:
    """The pixels of the files in an answer: signatures differ where pictures are the same."""
    return [opened(data).tobytes() for data in files(answer)]


def named(data: bytes, name: str = "picture.png", kind: str = "image/png") -> tuple[str, bytes, str]:
    """A file as the client sends it."""
    return name, data, kind


def receipt_of(service: Service, request_id: str) -> Any:
    """The receipt of a request."""
    return service.get(f"/v1/receipts/{request_id}", key=service.key).json()


def form(
    service: Service,
    path: str,
    fields: dict[str, str],
    parts: dict[str, bytes],
    *,
    boundary: str = "b0undary",
    key: str | None = None,
) -> tuple[int, bytes, str]:
    """Send a form, with an `Idempotency-Key` if one is given; status, body and request id of the answer."""
    body = io.BytesIO()
    for name, value in fields.items():
        body.write(f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    for name, data in parts.items():
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"; filename="x"\r\n\r\n'
        body.write(head.encode() + data + b"\r\n")
    body.write(f"--{boundary}--\r\n".encode())
    reply = service.request(
        "POST",
        path,
        body.getvalue(),
        key=service.key,
        headers={
            "content-type": f"multipart/form-data; boundary={boundary}",
            **({} if key is None else {"idempotency-key": key}),
        },
    )
    return reply.status, reply.body, reply.headers["x-request-id"]
