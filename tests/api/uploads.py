"""Forms with a file, as clients send them."""

from tests.service import Reply, Service

BOUNDARY = "----boundary"
FILES = "/v1/files"


def form(data: bytes, name: str = "notes.txt", **fields: str) -> bytes:
    """The body of an upload, the file before the other fields."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    rest = "".join(
        f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}'
        for field, value in ({"purpose": "user_data"} | fields).items()
    )
    return head.encode() + data + rest.encode() + f"\r\n--{BOUNDARY}--\r\n".encode()


def upload(service: Service, body: bytes, key: str) -> Reply:
    """Send a form."""
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    return service.request("POST", FILES, body, key=key, headers=headers)
