"""VolumeImage: one import for each pool, and a clone for each claim."""

from __future__ import annotations

import pytest

from csi_powerflex.kube.client import Client
from tests.kube.api_server import ApiServer
from tests.operator.images_world import ImagesWorld


@pytest.fixture
def images(cluster: ApiServer, client: Client) -> ImagesWorld:
    return ImagesWorld(cluster, client)


@pytest.mark.parametrize("mode", ["Block", "Filesystem"])
def test_the_first_claim_waits_for_the_import_and_gets_a_clone(images: ImagesWorld, mode: str) -> None:
    key = images.create()
    uid = images.want(mode=mode)
    images.settle(key)
    print(images.status())
    print(images.events())
    assert images.word() == "debian"
