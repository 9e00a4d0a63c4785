"""Between values and protobuf messages, in pairs ``*_to_proto`` / ``*_from_proto``.

A message of ``report.proto`` mirrors a dataclass field for field, so one pair of functions serves them all:

* a field has the same name on both sides; a dataclass is a message, ``None`` an absent field,
* a :class:`StrEnum` member ``TIN`` of ``SpectralFilter`` is ``SPECTRAL_FILTER_TIN``, or its value where the message
  has a string (sets that grow, such as refusal codes),
* ``tuple[X, ...]`` is a repeated field, a tuple of fixed length a message with as many fields in the same order,
* ``dict[str, float]`` is a map.

A test holds every dataclass against its message, so that a field cannot be forgotten on either side.
"""

from __future__ import annotations

import dataclasses
import re
import types
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from trabecula.report import ScreeningReport
from trabecula.v1 import report_pb2

T = TypeVar("T")


def report_to_proto(report: ScreeningReport) -> report_pb2.ScreeningReport:
    """The report as its message."""
    message = report_pb2.ScreeningReport()
    fill_message(report, message)
    return message


def report_from_proto(message: report_pb2.ScreeningReport) -> ScreeningReport:
    """Inverse of :func:`report_to_proto`.

    Raises:
        ValueError: if the message holds an enum value or code that this version does not know.
    """
    return read_message(ScreeningReport, message)


def fill_message(value: Any, message: Message) -> None:
    """Copy a dataclass into an empty message of the same shape."""
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        if item is not None:
            _fill_field(message, message.DESCRIPTOR.fields_by_name[field.name], item)


def _fill_field(message: Message, field: Any, item: Any) -> None:
    if isinstance(item, dict):
        getattr(message, field.name).update(item)
    elif field.is_repeated:
        target = getattr(message, field.name)
        for element in item:
            if field.message_type is None:
                target.append(_scalar_to_proto(field, element))
            else:
                fill_message(element, target.add())
    elif field.message_type is None:
        setattr(message, field.name, _scalar_to_proto(field, item))
    else:
        target = getattr(message, field.name)
        target.SetInParent()
        if isinstance(item, tuple):
            for part, element in zip(target.DESCRIPTOR.fields, item, strict=True):
                setattr(target, part.name, element)
        else:
            fill_message(item, target)


def _scalar_to_proto(field: Any, item: Any) -> Any:
    if isinstance(item, StrEnum):
        return item.value if field.enum_type is None else _number(field.enum_type, item.name)
    return item


def read_message(kind: type[T], message: Message) -> T:
    """A dataclass of the given type from a message of the same shape.

    Raises:
        ValueError: if the message holds an enum value or code that this version does not know.
    """
    values = {}
    for name, hint in _hints(cast(Any, kind)).items():
        field = message.DESCRIPTOR.fields_by_name[name]
        values[name] = _read_field(message, field, hint)
    return kind(**values)


def _read_field(message: Message, field: Any, hint: Any) -> Any:
    inner = _without_none(hint)
    if inner is not hint and not message.HasField(field.name):
        return None
    item = getattr(message, field.name)
    if inner is not hint and field.enum_type is not None and item == 0:
        return None  # said to be unspecified, which is the same as not said
    arguments = get_args(inner)
    if get_origin(inner) is dict:
        return dict(item)
    if get_origin(inner) is tuple and arguments[-1] is Ellipsis:
        return tuple(_read_element(field, arguments[0], element) for element in item)
    if get_origin(inner) is tuple:
        return tuple(getattr(item, part.name) for part in item.DESCRIPTOR.fields)
    return _read_element(field, inner, item)


def _read_element(field: Any, kind: Any, item: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        return read_message(cast(type[Any], kind), item)
    if issubclass(kind, StrEnum):
        return kind(item) if field.enum_type is None else _member(field.enum_type, kind, item)
    return item


def enum_to_proto(descriptor: EnumDescriptor, member: StrEnum | None) -> Any:
    """Number of an enum member; 0 (unspecified) for None."""
    return 0 if member is None else _number(descriptor, member.name)


E_ = TypeVar("E_", bound=StrEnum)


def enum_from_proto(descriptor: EnumDescriptor, kind: type[E_], number: int) -> E_ | None:
    """The enum member of a number; None for 0 (unspecified).

    Raises:
        ValueError: if this version does not know the number.
    """
    return None if number == 0 else _member(descriptor, kind, number)


def _number(descriptor: EnumDescriptor, name: str) -> int:
    return descriptor.values_by_name[f"{_prefix(descriptor)}{name}"].number


def _member(descriptor: EnumDescriptor, kind: type[E_], number: int) -> E_:
    value = descriptor.values_by_number.get(number)
    name = value.name.removeprefix(_prefix(descriptor)) if value is not None else ""
    if name not in kind.__members__:
        raise ValueError(f"{descriptor.name} {number}")
    return kind[name]


@cache
def _prefix(descriptor: EnumDescriptor) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", descriptor.name).upper() + "_"


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(option for option in get_args(hint) if option is not type(None))
    return hint
