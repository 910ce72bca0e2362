"""CSI messages as text for the log, without secrets.

The protocol marks secret fields with the option ``csi_secret``. The fields are found by the message's
descriptor, so the secret fields of a later version of the protocol are hidden too.
"""

from __future__ import annotations

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from csi_powerflex.pb import csi_pb2

HIDDEN = "***"


def text(message: Message) -> str:
    """``message`` on one line, with ``HIDDEN`` in place of each secret."""
    clean = type(message)()
    clean.CopyFrom(message)
    _strip(clean)
    return text_format.MessageToString(clean, as_one_line=True)


def _strip(message: Message) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[csi_pb2.csi_secret]:
            _hide(message, field)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and not _is_map(field):
            for item in (value,) if isinstance(value, Message) else value:
                _strip(item)


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def _hide(message: Message, field: FieldDescriptor) -> None:
    if _is_map(field):
        # The names of the secrets are kept: they show which secrets were sent.
        secrets = getattr(message, field.name)
        for key in list(secrets):
            secrets[key] = HIDDEN
    else:
        message.ClearField(field.name)
