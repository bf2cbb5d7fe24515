"""What somebody who mistyped a name may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST = 3
CLOSE = 0.6
"""difflib's ratio, 0-1, from which on two names are alike."""


def hint(said: str, known: Iterable[str]) -> str:
    """ "; did you mean 'captions'?" with up to three of `known` that look like `said`, best first; "" for
    none.
    """
    close = get_close_matches(said, list(known), n=MOST, cutoff=CLOSE)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
