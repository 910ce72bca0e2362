"""Hostile calls, and the codes that they may have."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from tests.hostile.messages import fields_of, fields_set

# The codes that the specification defines. It does not define UNKNOWN. It defines INTERNAL only for mounting
# and publishing on a node, for which this driver has more specific codes.
PROPER = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNIMPLEMENTED,
}
NOT_NOW = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}


@dataclass
class Tried:
    """The calls made, their codes, and the fields that were set in them."""

    codes: Counter[str] = field(default_factory=Counter)
    fields: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        codes = ", ".join(f"{count} {code}" for code, count in self.codes.most_common())
        return f"{self.codes.total()} inputs: {codes}"

    def missing(self, method: MethodDescriptor) -> set[str]:
        """The fields of an RPC's request that no call has set."""
        return set(fields_of(method.input_type)) - self.fields


class Caller:
    """Makes calls over one channel."""

    def __init__(self, channel: grpc.Channel, *, seconds: float) -> None:
        self._channel = channel
        self._seconds = seconds
        self._identity = csi_pb2_grpc.IdentityStub(channel)

    def call(self, method: MethodDescriptor, request: Message, tried: Tried) -> tuple[grpc.StatusCode, str]:
        """Make one call; returns its code and error message."""
        tried.fields.update(fields_set(request))
        answer: Any = message_factory.GetMessageClass(method.output_type)
        kind = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        stub: Any = kind(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        code, detail = grpc.StatusCode.OK, ""
        try:
            given = stub(request, timeout=self._seconds)
            if method.server_streaming:
                list(given)
        except grpc.RpcError as error:
            code, detail = error.code(), error.details() or ""
        tried.codes[code.name] += 1
        return code, detail

    def is_alive(self) -> bool:
        """Whether the process answers."""
        return bool(self._identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest(), timeout=10).name)
