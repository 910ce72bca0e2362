"""The publish context as the controller writes it and the node reads it."""

import contextlib

import pytest
from hypothesis import given, strategies as st

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.publish_context import PublishContext

HANDLE = VolumeHandle("0123456789abcdef", "fedcba9876543210")
CONTEXT = {"transport": "sdc", "sizeBytes": "8589934592", "readOnly": "false"}
publish_contexts = st.builds(
    PublishContext,
    handle=st.just(HANDLE),
    transport=st.text(min_size=1),
    size=st.integers(1, 10**18 - 1),
    read_only=st.booleans(),
    host_connected=st.booleans(),
    details=st.dictionaries(st.sampled_from(["portals", "subsystem"]), st.text()),
)


@given(publish_contexts)
def test_a_publish_context_reads_back_as_it_was_written(publish_context: PublishContext) -> None:
    assert PublishContext.parse(HANDLE, publish_context.to_dict()) == publish_context


def test_the_format_of_the_context_does_not_change() -> None:
    # Kubernetes keeps it in VolumeAttachments, and later versions of the driver read it.
    assert PublishContext(HANDLE, "sdc", 8589934592, read_only=False).to_dict() == CONTEXT


@pytest.mark.parametrize("key", CONTEXT)
def test_a_missing_key_is_named(key: str) -> None:
    context = {other: value for other, value in CONTEXT.items() if other != key}
    with pytest.raises(InvalidArgument, match=rf"{HANDLE} has no usable {key}.*ControllerPublishVolume"):
        PublishContext.parse(HANDLE, context)


@pytest.mark.parametrize(
    "size", ["", "0", "-1", "+1", "1.5", "1e9", " 1", "1\n", "١", "²", "9" * 5000, "1_000"]
)
def test_a_size_that_is_not_a_positive_number_is_refused(size: str) -> None:
    with pytest.raises(InvalidArgument, match="has no usable sizeBytes"):
        PublishContext.parse(HANDLE, CONTEXT | {"sizeBytes": size})


@pytest.mark.parametrize("read_only", ["", "True", "1", "yes"])
def test_an_invalid_read_only_value_is_refused(read_only: str) -> None:
    with pytest.raises(InvalidArgument, match="has no usable readOnly"):
        PublishContext.parse(HANDLE, CONTEXT | {"readOnly": read_only})


@given(st.dictionaries(st.sampled_from([*CONTEXT, "portals"]), st.text()))
def test_no_context_gives_another_error(context: dict[str, str]) -> None:
    with contextlib.suppress(InvalidArgument):
        assert PublishContext.parse(HANDLE, context).to_dict() == context
