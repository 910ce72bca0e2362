"""The array's error codes: the driver's table next to the simulator's, and codes without a row."""

from __future__ import annotations

import pytest

from csi_powerflex import errors
from csi_powerflex.gateway.codes import CODES, MdmCode, error_for
from csi_powerflex.simulator.api_error import MDM_ERRORS

NOT_IN_THE_DRIVER = {
    93: "the driver removes no protection domains",
    141: "the driver creates no protection domains",
    166: "it gives no reason, so it is repeated as a code without a row",
    170: "the driver creates no pools",
    180: "the driver removes no hosts",
    226: "the driver makes the names of volumes itself, and none is too long",
    227: "the driver makes the names of volumes itself, from letters, digits and hyphens",
    230: "a tree ends with its last volume: the repeated call finds that the volume does not exist",
    252: "it is the answer to a login, where only the HTTP status counts",
    307: "the driver removes no hosts",
    361: "the driver approves only hosts that the array lists, by the GUID in that list",
    4000: "the driver reads the list of SDTs, and asks for none by its id",
}
"""Codes of the simulator that need no row in the driver, with the reason."""

NOT_IN_THE_SIMULATOR = {
    58: "the simulator answers 168 to users without a right",
    68: "the simulated MDM has no parts that do not answer; a fault can send the code",
    69: "the simulated MDM has no parts that do not answer; a fault can send the code",
    86: "the simulator can remove one mapping of a volume that is mapped to all SDCs",
    90: "the simulator answers 80 for each id that no host has",
    174: "the simulator answers 171 for each id that no pool has",
}
"""Codes of the driver that the simulator does not have, with the reason."""

ROWS = {row.code: row for row in CODES}


def test_a_code_has_one_row() -> None:
    assert len(ROWS) == len(CODES)


def test_rows_with_the_same_error_stand_together_in_the_order_of_their_codes() -> None:
    groups = list(dict.fromkeys(row.error for row in CODES))
    assert list(CODES) == sorted(CODES, key=lambda row: (groups.index(row.error), row.code))


def test_symbols_are_those_of_the_simulator() -> None:
    both = ROWS.keys() & MDM_ERRORS.keys()
    assert {code: ROWS[code].symbol for code in both} == {code: MDM_ERRORS[code].symbol for code in both}


def test_each_code_of_the_simulator_has_a_row_or_a_reason_to_have_none() -> None:
    assert MDM_ERRORS.keys() - ROWS.keys() == NOT_IN_THE_DRIVER.keys()


def test_each_row_that_the_simulator_lacks_has_a_reason() -> None:
    assert ROWS.keys() - MDM_ERRORS.keys() == NOT_IN_THE_SIMULATOR.keys()


@pytest.mark.parametrize("row", CODES, ids=lambda row: row.symbol)
def test_a_code_decides_whatever_the_status_is(row: MdmCode) -> None:
    assert {error_for(status, row.code, row.symbol) for status in (400, 500)} == {row.error}


@pytest.mark.parametrize(
    ("status", "code", "message", "error"),
    [
        (500, 9999, "Something new", errors.Unavailable),
        (500, 0, "Error without a code", errors.Unavailable),
        (404, 0, "No such path", errors.Unavailable),
        (400, 0, "Request message is not valid", errors.InvalidArgument),
        (400, 0, "id (x) must be a hexadecimal number (unsigned long)", errors.NotFound),
    ],
)
def test_without_a_row_status_and_text_decide(
    status: int, code: int, message: str, error: type[errors.DriverError]
) -> None:
    assert error_for(status, code, message) is error
