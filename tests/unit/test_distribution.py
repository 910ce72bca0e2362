"""What runs beside what."""

import pytest

from tests.distribution import group


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/node/test_staging.py::test_it[a::b]", "devices"),
        ("tests/node/test_breaks.py::test_it[a]", "tests/node/test_breaks.py"),
        ("tests/simulator/test_devices.py::test_it", "devices"),
        ("tests/simulator/test_faults.py::test_it", "tests/simulator/test_faults.py"),
        ("tests/sanity/test_sanity.py::test_csi_sanity[Controller [x] does-one-3.6-mount]", "one-3.6-mount"),
        ("tests/controller/test_breaks.py::test_it[a]", "tests/controller/test_breaks.py::test_it[a]"),
        ("tests/unit/test_ids.py::test_it[a@b::c]", "tests/unit/test_ids.py"),
    ],
)
def test_tests_that_share_something_are_one_group(nodeid: str, name: str) -> None:
    assert group(nodeid) == name
