"""Which paths are canonical: those that every reader of them takes for the same place.

A route needs no such check: its path is matched as it is, and what stands for a parameter may be made of few
characters. An application that is mounted is given the path itself, and may clean it up in its own way. So it never
sees one that could mean something else to it than to the policy which has let the request in.

The server has decoded the path once. A `%` with two digits in what is left would be decoded by the next reader.
"""

import re

from tekton.gateway.errors import MalformedRequestError

_DOUBTFUL = re.compile(
    r"//"
    r"|(?:^|/)\.{1,2}(?:[/;]|$)"  # `.`, `..`, and `..;x`, which some take for `..`
    r"|\\"
    r"|%[0-9A-Fa-f]{2}"
    r"|[\x00-\x1f\x7f\ufffd]"  # U+FFFD stands for what was not UTF-8
)


def check_canonical(path: str) -> None:
    """Return when *path*, decoded once, means the same to everybody. Raises MalformedRequestError."""
    if not path.startswith("/") or _DOUBTFUL.search(path):
        raise MalformedRequestError("the path is not in its canonical form")
