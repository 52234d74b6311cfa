"""Operations of OpenAI's API that are refused, and why: callers are told, and so is the table of operations."""

import re
from typing import Final

_ASSISTANTS: Final = "assistants are the older form of what responses and conversations do; use these"
REFUSED: Final = (
    ("responses/compact", "conversations are not compacted; 'truncation' set to 'auto' leaves out the oldest items"),
    ("assistants", _ASSISTANTS),
    ("threads", _ASSISTANTS),
    ("audio", "the models here write and paint; they neither hear nor speak"),
    ("realtime", "the models here write and paint; they neither hear nor speak"),
    ("videos", "the models here paint pictures, no videos"),
    ("chatkit", "its sessions are those of OpenAI's own widgets; a chat is a client of responses and conversations"),
    ("containers", "no code of models is run here"),
    ("skills", "no code of models is run here"),
)
"""What the paths begin with, behind `/v1/`, and why nothing there is done."""

_PREFIX: Final = re.compile(r"/(?:openai/v1|v1|openai)/")


def why_refused(path: str) -> str | None:
    """Why an operation is refused; None if it is not.

    Args:
        path: of the operation, in any dialect.
    """
    prefix = _PREFIX.match(path)
    rest = path[prefix.end() :] if prefix else ""
    return next((why for begin, why in REFUSED if rest == begin or rest.startswith(f"{begin}/")), None)
