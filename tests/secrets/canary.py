"""Secrets that are known to the tests, and the search for them in whatever form they may leak."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

# Letters and digits, so that no quoting changes them, between characters that quoting does change.
PASSWORD_CORE = "CanaryPassword8d1f6a"
PASSWORD = f"%\"'{PASSWORD_CORE}\\ü:@/"
SECRET_FIELD = "CanarySecretField77c0e2"


def forms(word: str) -> Iterator[bytes]:
    """``word`` as it is, in hexadecimal, and within any base64."""
    content = word.encode()
    yield content
    yield content.hex().encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + content)
        # What the neighbours' bits go into is left out at both ends.
        part = encoded[-(-offset * 8 // 6) :].rstrip(b"=")[:-1]
        yield part
        yield part.replace(b"+", b"-").replace(b"/", b"_")


def found(words: Iterable[str], content: bytes) -> list[str]:
    """Those of ``words`` that are in ``content`` in some form."""
    return [word for word in words if any(form in content for form in forms(word))]
