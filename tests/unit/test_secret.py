"""A value that is not printed by accident."""

import logging

import msgspec
import pytest

from csi_powerflex.config.secret import Secret

SECRET = Secret("hunter2")


@pytest.mark.parametrize(
    "shown",
    [
        str(SECRET),
        repr(SECRET),
        f"{SECRET}",
        "%s %r" % (SECRET, SECRET),  # noqa: UP031 - an old format style
        f"{[SECRET]} { ({'password': SECRET}) }",
        logging.Formatter().format(logging.LogRecord("x", 20, "x", 1, "it is %s", (SECRET,), None)),
    ],
)
def test_no_kind_of_formatting_shows_the_value(shown: str) -> None:
    assert "***" in shown
    assert "hunter2" not in shown


def test_it_cannot_be_encoded_by_accident() -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode({"password": SECRET})


def test_reveal_gives_the_value() -> None:
    assert SECRET.reveal() == "hunter2"


def test_secrets_are_equal_only_to_secrets_with_the_same_value() -> None:
    assert Secret("hunter2") == SECRET
    assert hash(SECRET) == hash(Secret("hunter2"))
    assert Secret("other") != SECRET
    assert SECRET != "hunter2"
