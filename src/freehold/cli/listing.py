"""Reading the lists of `/v1/organization`, which come in pages, and finding in them what a person means."""

from typing import Any
from urllib.parse import urlencode

from freehold.cli.control import Control
from freehold.errors import Conflict, NotFound

PROJECTS = "/v1/organization/projects"
_PAGE = 100
_PROJECT_IDS = ("proj-", "proj_")


async def every(control: Control, path: str, **parameters: str) -> list[dict[str, Any]]:
    """All objects of a list, page by page."""
    found: list[dict[str, Any]] = []
    more = True
    while more:
        after = {"after": found[-1]["id"]} if found else {}
        answer = await control.request("GET", f"{path}?{urlencode({'limit': str(_PAGE), **parameters, **after})}")
        found += answer["data"]
        more = answer["has_more"] and bool(answer["data"])
    return found


async def project_id(control: Control, wanted: str) -> str:
    """The id of the project that is meant: by its id or, if just one is called so, by its name.

    Raises:
        NotFound: there is none.
        Conflict: several are called so.
    """
    return str(only(await every(control, PROJECTS), wanted, "project", "freehold projects list")["id"])


async def project_meant(control: Control, wanted: str) -> str:
    """As `project_id`, but what looks like an id is taken as one, since not everybody may list projects.

    Raises:
        NotFound: no project has that name.
        Conflict: several are called so.
    """
    return wanted if wanted.startswith(_PROJECT_IDS) else await project_id(control, wanted)


def only(objects: list[dict[str, Any]], wanted: str, what: str, where: str) -> dict[str, Any]:
    """The one object of that id or name.

    Args:
        objects: among which.
        wanted: the id or the name.
        what: what they are.
        where: the command that lists them.

    Raises:
        NotFound: there is none.
        Conflict: several are called so.
    """
    found = [each for each in objects if each["id"] == wanted] or [each for each in objects if each["name"] == wanted]
    if not found:
        raise NotFound(f"there is no {what} '{wanted}'; '{where}' shows them")
    if len(found) > 1:
        ids = ", ".join(each["id"] for each in found)
        raise Conflict(f"{len(found)} are called '{wanted}'; name one by its id: {ids}")
    return found[0]
