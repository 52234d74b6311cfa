"""Numbers of things, as they are told."""


def counted(number: int, thing: str) -> str:
    """So many of a thing, whose plural has an s."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
