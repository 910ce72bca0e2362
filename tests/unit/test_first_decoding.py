"""Types that several threads decode are ready for it once their module is imported.

msgspec (seen with 0.19 and 0.22) reads the annotations of a type when it is first decoded. Where two threads
do that at once, the process may end with a segmentation fault.
"""

from __future__ import annotations

import sys

import pytest

from tests.commands import output_of

_READS = """
import importlib, sys
import msgspec

read = []

def note(frame, event, _argument):
    if event == "call" and frame.f_code.co_name == "get_class_annotations":
        read.append(True)

class Unprepared(msgspec.Struct):
    name: str = ""

def decode(kind):
    read.clear()
    sys.setprofile(note)
    try:
        msgspec.json.decode(b"{}", type=kind)
    except msgspec.ValidationError:
        pass  # a field is missing
    finally:
        sys.setprofile(None)
    return bool(read)

module = importlib.import_module(sys.argv[1])
types = [
    item for item in vars(module).values()
    if isinstance(item, type) and issubclass(item, msgspec.Struct) and item.__module__ == module.__name__
]
assert decode(Unprepared) and len(types) > 1
print("unprepared:", *(kind.__name__ for kind in types if decode(kind)))
"""


@pytest.mark.parametrize(
    ("prepared_by", "module", "never_decoded"),
    [
        ("csi_powerflex.gateway.payloads", "csi_powerflex.gateway.payloads", ""),
        ("csi_powerflex.simulator.faults", "csi_powerflex.simulator.faults", ""),
        ("csi_powerflex.simulator.store", "csi_powerflex.simulator.model", ""),
        ("csi_powerflex.wishes.kubernetes", "csi_powerflex.wishes.kubernetes", " _Volume _Lately"),
    ],
)
def test_the_types_of_a_module_are_ready_to_be_decoded_by_several_threads(
    prepared_by: str, module: str, never_decoded: str
) -> None:
    script = f"import {prepared_by}\n{_READS}"
    assert output_of([sys.executable, "-c", script, module]).strip() == f"unprepared:{never_decoded}"
