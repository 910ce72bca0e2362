"""Which tests run in the same process."""

from pathlib import Path

import pytest

from tests.distribution import WITH_DEVICES, group

_TESTS = Path(__file__).parents[1]
_IN_CELLS = "tests/sanity/"


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/node/test_staging.py::test_it[a::b]", "devices"),
        ("tests/node/test_interrupted_calls.py::test_it[a]", "tests/node/test_interrupted_calls.py"),
        ("tests/simulator/test_devices.py::test_it", "devices"),
        ("tests/simulator/test_faults.py::test_it", "tests/simulator/test_faults.py"),
        ("tests/sanity/test_sanity.py::test_csi_sanity[Controller [x] does-one-3.6-mount]", "one-3.6-mount"),
        (
            "tests/controller/test_interrupted_calls.py::test_it[a]",
            "tests/controller/test_interrupted_calls.py::test_it[a]",
        ),
        ("tests/unit/test_ids.py::test_it[a@b::c]", "tests/unit/test_ids.py"),
    ],
)
def test_tests_that_share_fixtures_or_devices_are_one_group(nodeid: str, name: str) -> None:
    assert group(nodeid) == name


def test_every_file_with_tests_that_need_devices_is_in_the_list() -> None:
    files = [path for path in _TESTS.rglob("test_*.py") if 'needs("devices"' in path.read_text()]
    names = [str(path.relative_to(_TESTS.parent)) for path in files if path != Path(__file__)]
    assert len(names) > 20
    assert [name for name in names if not name.startswith((*WITH_DEVICES, _IN_CELLS))] == []
