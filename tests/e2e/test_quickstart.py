"""README's quickstart on Kubernetes, word for word."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.cluster import NAMESPACE, Cluster
from tests.e2e.conftest import install

_ROOT = Path(__file__).parents[2]


def _commands(part: str) -> list[str]:
    """The lines that a reader types, of the block that README marks as ``part``."""
    text = (_ROOT / "README.md").read_text()
    (block,) = re.findall(rf"<!-- quickstart: {part} -->\n+```console\n(.*?)```", text, flags=re.DOTALL)
    return [
        line.strip().replace("\\\n", "")
        for line in re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, flags=re.MULTILINE)
    ]


def test_the_quickstart_of_the_readme_leads_to_a_pod_with_a_volume_and_away_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    before = set(cluster.array.volumes())
    kubernetes = cluster.kubernetes
    kubernetes.helm("uninstall", "csi-powerflex", "--namespace", NAMESPACE, "--wait")
    kubernetes.kubectl("delete", "namespace", NAMESPACE, "--wait")
    for name, text in cluster.systems().items():
        (tmp_path / name).write_text(text)
    for name in ("charts", "deploy"):
        (tmp_path / name).symlink_to(_ROOT / name)
    commands = [*_commands("install"), *_commands("use")]
    assert len(commands) > 8
    try:
        kubernetes.shell("\n".join(commands), tmp_path)
        cluster.array.await_volumes(before)
    finally:
        cluster.make_secret()
        install(cluster)
