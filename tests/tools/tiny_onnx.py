"""Writes small ONNX models with nothing but the standard library, right ones and wrong ones. Field
numbers are those of frontend/onnx.proto. Everything is bytes of a protobuf message."""

import struct

F32, I64, STRING, BOOL = 1, 7, 8, 9


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def piece(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def real(field, value):
    return varint(field << 3 | 5) + struct.pack("<f", value)


def value(name, dims, dtype=F32):
    """An input or output; a dim is a number or a name."""
    shape = b"".join(piece(1, number(1, d) if isinstance(d, int) else piece(2, d)) for d in dims)
    return piece(1, name) + piece(2, piece(1, number(1, dtype) + piece(2, shape)))


def map_type(key, dtype=F32):
    return piece(5, number(1, key) + piece(2, piece(1, number(1, dtype))))


def sequence_type(of):
    return piece(4, piece(1, of))


def typed(name, kind):
    """An input or output of this type."""
    return piece(1, name) + piece(2, kind)


def tensor(name, dims, raw=None, dtype=F32, external=None):
    """External: {key: value} of the data's place."""
    out = b"".join(number(1, d) for d in dims) + number(2, dtype) + piece(8, name)
    if raw is not None:
        out += piece(9, raw)
    for key, text in (external or {}).items():
        out += piece(13, piece(1, key) + piece(2, text))
    return out + (number(14, 1) if external else b"")


def attr(name, given):
    """An int, a float, a list of ints, floats or strings, a string, or a graph (bytes)."""
    out = piece(1, name)
    if isinstance(given, int):
        return out + number(3, given) + number(20, 2)
    if isinstance(given, float):
        return out + real(2, given) + number(20, 1)
    if isinstance(given, str):
        return out + piece(4, given) + number(20, 3)
    if isinstance(given, bytes):
        return out + piece(6, given) + number(20, 5)
    if given and isinstance(given[0], str):
        return out + b"".join(piece(9, i) for i in given) + number(20, 8)
    if given and isinstance(given[0], float):
        return out + b"".join(real(7, i) for i in given) + number(20, 6)
    return out + b"".join(number(8, i) for i in given) + number(20, 7)


def node(op, inputs, outputs, name="", domain="", **attrs):
    return (b"".join(piece(1, i) for i in inputs) + b"".join(piece(2, o) for o in outputs) +
            piece(3, name) + piece(4, op) +
            b"".join(piece(5, attr(key, given)) for key, given in attrs.items()) +
            (piece(7, domain) if domain else b""))


def graph(nodes, inputs=(), outputs=(), tensors=(), name="g"):
    return (b"".join(piece(1, n) for n in nodes) + piece(2, name) +
            b"".join(piece(5, t) for t in tensors) + b"".join(piece(11, i) for i in inputs) +
            b"".join(piece(12, o) for o in outputs))


def model(body, opsets=(("", 21),), ir=10):
    return (number(1, ir) + piece(7, body) +
            b"".join(piece(8, piece(1, domain) + number(2, version)) for domain, version in opsets))
