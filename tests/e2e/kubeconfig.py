"""Kubeconfig files."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.pki import Authority, Pair


def write(path: Path, address: str, authority: Authority, pair: Pair) -> Path:
    """Write a kubeconfig for the API server at ``address`` with the certificate ``pair``, as JSON."""
    cluster = {"server": f"https://{address}", "certificate-authority": str(authority.certificate)}
    user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "e2e", "cluster": cluster}],
                "users": [{"name": "e2e", "user": user}],
                "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
                "current-context": "e2e",
            }
        )
    )
    return path
