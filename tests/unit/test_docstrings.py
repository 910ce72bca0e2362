"""The docstrings and comments of the driver name only what exists."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import re
from collections.abc import Iterator

import pytest

from tests import known_names
from tests.known_names import PACKAGE, Module

# Written like a name of ours, but not in the code of the module.
OTHERS = {
    "HTTPS_PROXY": "a variable of the environment",
    "REQUESTS_CA_BUNDLE": "a variable of the environment",
    "StoragePool.list": "a route of the simulator",
    "Volume.addMappedSdc": "a route of the simulator",
    "_duration_seconds": "the end of a metric's name",
    "_total": "the end of a metric's name",
    "device_ownership_from_security_context": "a setting of containerd",
    "gateway_requests": "a count of a call",
    "inspect": "a command of the mover",
    "kubectl": "a program",
    "losetup": "a program",
    "net": "the beginning of the names of statistics",
}

_SPAN = re.compile(r"``([^`]+)``")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_KEY = re.compile(r"[a-z]+[A-Z]\w*")
_RAISES = re.compile(r"^ *Raises:\n((?: +.*\n?)+)", flags=re.MULTILINE)
_ERRORS = re.compile(r"^ +([A-Z]\w*(?:\.\w+)*(?:, [A-Z]\w*)*):", flags=re.MULTILINE)

MODULES = sorted(name for name in known_names.modules() if not name.startswith("pb"))


def source(name: str) -> str:
    path = PACKAGE / name.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


def unknown_names(text: str, name: str, module: Module) -> Iterator[str]:
    """The names in double backquotes in ``text`` that module ``name`` does not use and that do not exist.

    A key of the array's JSON, such as ``sizeInKb``, may be used by any module.
    """
    for span in sorted({match.removesuffix("()") for match in _SPAN.findall(text)} - OTHERS.keys()):
        if _NAME.fullmatch(span) and not _is_known(span, name, module):
            yield span


def _is_known(span: str, name: str, module: Module) -> bool:
    folder = name if (PACKAGE / name.replace(".", "/")).is_dir() else name.rpartition(".")[0]
    if _KEY.fullmatch(span):
        return any(span in other.words for other in known_names.modules().values())
    return (
        set(span.split(".")) <= module.words
        or known_names.code_exists(span)
        or known_names.code_exists(f"{folder}.{span}")
        or ("." in span and importlib.util.find_spec(span.partition(".")[0]) is not None)
    )


def unknown_errors(text: str) -> Iterator[str]:
    """The classes in the "Raises" sections of ``text`` that do not exist."""
    for section in _RAISES.findall(text):
        for line in _ERRORS.findall(section):
            for error in line.split(", "):
                if not known_names.class_exists(error.rpartition(".")[2]) and not hasattr(builtins, error):
                    yield error


def docstrings(text: str) -> list[str]:
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, nodes)]


@pytest.mark.parametrize("name", MODULES, ids=lambda name: name or "csi_powerflex")
def test_a_module_names_only_what_exists(name: str) -> None:
    text = source(name)
    assert list(unknown_names(text, name, known_names.modules()[name])) == []
    assert [error for docstring in docstrings(text) for error in unknown_errors(docstring)] == []


def test_names_that_do_not_exist_are_found() -> None:
    module = known_names.modules()["model.transport"]
    text = (
        "``size``, ``PublishContext`` and ``gateway.mapping`` exist, ``voucher``, ``gateway.meanings``, "
        "``mappedNothing`` and ``NodeTransport.detach`` do not."
    )
    assert list(unknown_names(text, "model.transport", module)) == [
        "NodeTransport.detach",
        "gateway.meanings",
        "mappedNothing",
        "voucher",
    ]
    raises = (
        "Do it.\n\nRaises:\n    NotFound, NotSent: it is so.\n        And more.\n    OSError: it is not.\n"
    )
    assert list(unknown_errors(raises)) == ["NotSent"]
