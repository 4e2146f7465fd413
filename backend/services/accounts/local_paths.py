"""Paths on this server, as text from elsewhere names them: a redirect must lead to a page of
ours.
"""

from __future__ import annotations

import re
from typing import Final

# Our pages' paths are plain words and ids. What a browser, a proxy or the file server could decode,
# strip or shorten to another host (%2f, "..", "//", a backslash, a tab) is in none of them.
_LOCAL: Final = re.compile(r"/(?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-]*(?:[?#][!-\[\]-~]*)?")


def is_local_path(target: str) -> bool:
    """Tell whether `target` is a path of this server, with or without a query, in a spelling with
    one meaning.
    """
    return _LOCAL.fullmatch(target) is not None
