"""A look into an ONNX file before onnxruntime sees it: operators, their domains, and external data.

Reads the protobuf wire format directly (field numbers of onnx.proto, IR version 3 and later), so that the server
does not need the ``onnx`` package. Stricter than a protobuf library: what two readers could understand differently is
refused, so that onnxruntime never sees another model than the one that was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 8, 20, 25
_OPSET_DOMAIN = 1
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_SPARSE_VALUES, _SPARSE_INDICES = 1, 2
_FUNCTION_NODE, _FUNCTION_OPSET, _FUNCTION_ATTRIBUTE = 7, 9, 11
_TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION = 13, 14
_MAX_DEPTH = 16
_MAX_KEY = 0xFFFF_FFFF
"""Field number and wire type; libraries drop the bits beyond, and so would read another field than we do."""


@dataclass
class OnnxFacts:
    """What a model file would make the runtime do beyond plain arithmetic."""

    domains: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)
    external_data: bool = False


def scan_onnx(content: bytes) -> OnnxFacts:
    """Operator domains used by a model file, and whether it points to data outside itself.

    Raises:
        ValueError: if the bytes are not a protobuf message with one graph, or bring along graphs for training.
    """
    facts = OnnxFacts()
    graphs = 0
    for number, value in _fields(memoryview(content)):
        if number == _MODEL_GRAPH:
            graphs += 1
            _scan_graph(_message(value), facts, 0)
        elif number == _MODEL_OPSET:
            facts.domains.update(_texts(_message(value), _OPSET_DOMAIN) or {""})
        elif number == _MODEL_TRAINING:
            raise ValueError("graphs for training")
        elif number == _MODEL_FUNCTION:
            _scan_function(_message(value), facts)
    if graphs != 1:
        raise ValueError("no graph")
    return facts


def _scan_function(function: memoryview, facts: OnnxFacts) -> None:
    for number, value in _fields(function):
        if number == _FUNCTION_NODE:
            _scan_node(_message(value), facts, 0)
        elif number == _FUNCTION_OPSET:
            facts.domains.update(_texts(_message(value), _OPSET_DOMAIN) or {""})
        elif number == _FUNCTION_ATTRIBUTE:
            _scan_attribute(_message(value), facts, 0)


def _scan_graph(graph: memoryview, facts: OnnxFacts, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("graph nested too deeply")
    for number, value in _fields(graph):
        if number == _GRAPH_NODE:
            _scan_node(_message(value), facts, depth)
        elif number == _GRAPH_INITIALIZER:
            _scan_tensor(_message(value), facts)
        elif number == _GRAPH_SPARSE:
            _scan_sparse(_message(value), facts)


def _scan_node(node: memoryview, facts: OnnxFacts, depth: int) -> None:
    facts.domains.update(_texts(node, _NODE_DOMAIN))
    facts.operators.update(_texts(node, _NODE_OPERATOR))
    for number, attribute in _fields(node):
        if number == _NODE_ATTRIBUTE:
            _scan_attribute(_message(attribute), facts, depth)


def _scan_attribute(attribute: memoryview, facts: OnnxFacts, depth: int) -> None:
    for number, value in _fields(attribute):
        if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
            _scan_tensor(_message(value), facts)
        elif number in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
            _scan_sparse(_message(value), facts)
        elif number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
            _scan_graph(_message(value), facts, depth + 1)


def _scan_sparse(sparse: memoryview, facts: OnnxFacts) -> None:
    for number, value in _fields(sparse):
        if number in (_SPARSE_VALUES, _SPARSE_INDICES):
            _scan_tensor(_message(value), facts)


def _scan_tensor(tensor: memoryview, facts: OnnxFacts) -> None:
    for number, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_LOCATION and value != 0):
            facts.external_data = True


def _texts(message: memoryview, wanted: int) -> set[str]:
    return {bytes(_message(value)).decode() for number, value in _fields(message) if number == wanted}


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("number where a message belongs")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(field number, payload) of each field; payload is an int for varints, else its bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if number == 0 or key > _MAX_KEY:
            raise ValueError("no field number")
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("unknown wire type")
        if position + length > len(message):
            raise ValueError("truncated")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("truncated number")
