"""What exists in this repository: its files, and the names in its code.

Tests compare what pages and docstrings name with it.
"""

from __future__ import annotations

import ast
import fnmatch
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "csi_powerflex"


@functools.cache
def paths() -> frozenset[str]:
    """Every file and folder, relative to the repository. Left out are caches and virtual environments."""
    found = set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if (name[0] != "." or name == ".ci") and name != "__pycache__"]
        found |= {Path(folder, name).relative_to(ROOT).as_posix() for name in (*folders, *files)}
    return frozenset(found)


def path_exists(text: str) -> bool:
    """Whether a file or folder has this path, or a path that ends with it. ``*`` stands for any text."""
    path = text.rstrip("/")
    if "*" in path:
        return any(fnmatch.fnmatch(known, path) for known in paths())
    return any(known == path or known.endswith(f"/{path}") for known in paths())


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the driver.

    Attributes:
        names: what its top level defines or imports.
        classes: by the name of a class, the names of its attributes and methods.
        words: every identifier in its code, and every word in its texts but the docstrings.
    """

    names: set[str] = field(default_factory=set)
    classes: dict[str, set[str]] = field(default_factory=dict)
    words: set[str] = field(default_factory=set)


@functools.cache
def modules() -> dict[str, Module]:
    """The modules and packages of the driver by name, such as ``model.ports``."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = _read(ast.parse(path.read_text(encoding="utf-8")))
    return found


def _read(tree: ast.Module) -> Module:
    module = Module()
    for node in tree.body:
        module.names.update(_defined(node))
        if isinstance(node, ast.ClassDef):
            module.classes[node.name] = set(_attributes(node))
    docstrings = {id(node) for node in _docstrings(tree)}
    for part in ast.walk(tree):
        if id(part) not in docstrings:
            module.words.update(_words(part))
    return module


def _defined(node: ast.stmt) -> Iterator[str]:
    """The names that a statement gives to its scope."""
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (
                part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
            )
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names)


def _attributes(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        yield from _defined(statement)
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            yield part.attr


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """The texts that stand alone: docstrings, also those of fields and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _words(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            yield name
        case ast.keyword(arg=str(name)) | ast.alias(asname=str(name)):
            yield name
        case ast.alias(name=name):
            yield from name.split(".")
        case ast.ImportFrom(module=str(name)):
            yield from name.split(".")
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Constant(value=str(text)):
            yield from _parts(text)


def _parts(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() or letter == "_" else " " for letter in text).split()


def code_exists(text: str) -> bool:
    """Whether the driver has the package, module, class, function, attribute or constant of this dotted name.

    The name is relative to ``csi_powerflex``, or begins with a class of any module.
    """
    parts = text.removeprefix("csi_powerflex.").split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        if name in modules():
            return _has(modules()[name], parts[length:])
    return any(_has(module, parts) for module in modules().values() if parts[0] in module.classes)


def _has(module: Module, rest: list[str]) -> bool:
    match rest:
        case []:
            return True
        case [name]:
            return name in module.names
        case [name, attribute]:
            return attribute in module.classes.get(name, ())
    return False


def class_exists(name: str) -> bool:
    """Whether any module of the driver defines a class or a constant of this name."""
    return any(name in module.names for module in modules().values())
