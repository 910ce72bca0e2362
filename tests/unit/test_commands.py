"""Commands that tests run."""

import pytest

from tests.commands import CommandFailed, output_of


def test_what_a_command_prints_is_returned() -> None:
    assert output_of(["sh", "-c", "echo '  one '; echo noise >&2"]) == "one"


def test_a_command_that_fails_shows_itself_its_status_and_all_that_it_printed() -> None:
    with pytest.raises(CommandFailed) as caught:
        output_of(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert str(caught.value) == "`sh -c echo out; echo err >&2; exit 3` ended with status 3:\nout\nerr"


def test_a_command_that_fails_in_silence_says_so() -> None:
    with pytest.raises(CommandFailed, match="it printed nothing"):
        output_of(["false"])
