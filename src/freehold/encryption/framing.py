"""Texts as one string of bytes that only they give: what ciphertext is bound to."""


def framed(*fields: str) -> bytes:
    """Texts one after the other, each behind its length in four bytes."""
    encoded = [field.encode("utf-8", "surrogatepass") for field in fields]
    return b"".join(len(field).to_bytes(4, "big") + field for field in encoded)
