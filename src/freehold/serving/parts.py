"""How many of a replica's requests each of several gateways may have on it at once."""

from collections.abc import Mapping


def parts(slots: int, wants: Mapping[str, int]) -> dict[str, int]:
    """Divide slots among gateways by what each has to do, nobody's before another's (max-min fairness).

    Who wants less than an equal part gets what it wants, at least one slot; the others have the rest in equal parts,
    and what nobody wants is divided equally too, for whoever comes next. Who knows the same comes to the same.

    Args:
        slots: how many there are; each gateway gets one though there be fewer.
        wants: by each gateway's name, how many requests it has there, running or waiting.
    """
    found = dict.fromkeys(wants, 1)
    left = slots - len(wants)
    wanting = {name: wanted - 1 for name, wanted in wants.items() if wanted > 1}
    while left > 0 and wanting:
        each = max(1, left // len(wanting))
        for name in sorted(wanting):
            given = min(each, wanting[name], left)
            found[name] += given
            wanting[name] -= given
            left -= given
        wanting = {name: wanted for name, wanted in wanting.items() if wanted > 0}
    names = sorted(found)
    for index, name in enumerate(names):
        found[name] += max(0, left) // len(names) + (index < max(0, left) % len(names))
    return found


def on_each(part: int, replicas: int, turn: int) -> list[int]:
    """A gateway's slots of a deployment, over its replicas; at least one on each.

    Args:
        part: how many it has in all.
        replicas: how many there are.
        turn: the gateway's number among the gateways, so that not all have more on the same replica.
    """
    whole, more = divmod(part, replicas)
    return [max(1, whole + ((index - turn) % replicas < more)) for index in range(replicas)]
