"""Commands that tests run."""

import pytest

from tests.commands import CommandFailed, output_of


def test_the_output_of_a_command_is_returned() -> None:
    assert output_of(["sh", "-c", "echo '  one '; echo noise >&2"]) == "one"


def test_the_error_of_a_command_has_the_command_its_status_and_its_output() -> None:
    with pytest.raises(CommandFailed) as caught:
        output_of(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert str(caught.value) == "`sh -c echo out; echo err >&2; exit 3` ended with status 3:\nout\nerr"


def test_the_error_of_a_command_without_output_says_so() -> None:
    with pytest.raises(CommandFailed, match="it printed nothing"):
        output_of(["false"])
