"""README's quickstart: what it names is there, and the chart takes what it sets. The e2e tests run it."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess

import pytest

from tests.chart.helm import ROOT

_BLOCK = re.compile(r"<!-- quickstart: (?P<name>\w+) -->\n```console\n(?P<text>.*?)```", re.DOTALL)


def commands(name: str) -> list[list[str]]:
    """The commands of a block, each as its words; a line without a $ goes on with the one before."""
    blocks = {match["name"]: match["text"] for match in _BLOCK.finditer((ROOT / "README.md").read_text())}
    text = blocks[name].replace("\\\n", " ")
    return [shlex.split(line.removeprefix("$ ")) for line in text.splitlines()]


@pytest.mark.parametrize("name", ["install", "simulate", "use"])
def test_every_command_is_one_of_the_two_tools_and_its_files_are_there(name: str) -> None:
    found = commands(name)
    assert found
    for words in found:
        assert words[0].rpartition("=$(")[2] in ("helm", "kubectl")
        for before, word in itertools.pairwise(words):
            if before == "--filename" or word.startswith("charts/"):
                assert (ROOT / word).exists(), word


@pytest.mark.parametrize("name", ["install", "simulate"])
def test_the_chart_takes_what_the_quickstart_sets(helm: str, name: str) -> None:
    (install,) = [words for words in commands(name) if words[0] == "helm"]
    assert install[:2] == ["helm", "install"]
    options = [word for word in install[2:] if word != "--create-namespace"]
    command = [helm, "template", *options, "--kube-version", "1.36.0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for kind, name_ in (("Deployment", "csi-powerflex-controller"), ("DaemonSet", "csi-powerflex-node")):
        assert re.search(rf"^kind: {kind}\nmetadata:\n  name: {name_}$", done.stdout, re.MULTILINE)
    assert "kind: StorageClass\nmetadata:\n  name: powerflex\n" in done.stdout


def test_the_same_is_said_in_the_page_about_installing() -> None:
    page = (ROOT / "docs" / "install.md").read_text()
    for words in commands("install"):
        # The page's text is indented, and may be broken elsewhere.
        said = re.sub(r"\s+", " ", page.replace("\\\n", " "))
        assert all(word in said for word in words), words
