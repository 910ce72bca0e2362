"""Secrets that the tests use, and the search for them in several encodings."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator

# Quoting does not change letters and digits. It changes the characters before and after them.
PASSWORD_CORE = "CanaryPassword8d1f6a"
PASSWORD = f"%\"'{PASSWORD_CORE}\\ü:@/"
SECRET_FIELD = "CanarySecretField77c0e2"


def forms(word: str) -> Iterator[bytes]:
    """``word`` unchanged, in hexadecimal, and as a part of base64."""
    content = word.encode()
    yield content
    yield content.hex().encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + content)
        # The characters at both ends depend on the bytes next to ``word``, so they are left out.
        part = encoded[-(-offset * 8 // 6) :].rstrip(b"=")[:-1]
        yield part
        yield part.replace(b"+", b"-").replace(b"/", b"_")


def found(words: Iterable[str], content: bytes) -> list[str]:
    """Those of ``words`` that are in ``content`` in one of their forms."""
    return [word for word in words if any(form in content for form in forms(word))]
