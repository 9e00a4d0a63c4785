"""Mutations of JSON, TOML, query strings and plain bytes: what a document of any kind may come to."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1e308, -1e308, 1e-320, 2**63, 2**64, -(2**63) - 1, 10**400, float("nan"), float("inf"),
    "", " ", "\x00", "\ud800", "\udfff\ud800", "a" * 70_000, "../../etc/passwd", "NaN", "1e999", "9" * 5000,
    "0001-01-01",
    "9999-12-31T23:59:60Z", "2025-02-30", "2025-13-01T00:00:00+99:99", "2025-01-01T00:00:00.000000000000001Z", "-2025",
    "\u202e", "\u0130", "%00", "http://[::1", "http://[", "http://a:99999/", "http://169.254.169.254/", "file:///etc/passwd",
    "javascript:alert(1)", "urn:uuid:", "urn:oid:..", "#", "#a", "Patient/", "Patient/../..", "/", "//", "$ref",
    "{}", "[]",
    [], {}, [[]], [None], {"": None}, [{}] * 600, {"resourceType": "Bundle"}, {"__proto__": 1}, "١٢٣", "2²", "１",
    "0x10",
    "\n\n", "'\";--", "<a>", "\ufeff", "\u2028",
)  # fmt: skip
_MANY = 500
_KINDS = (
    "Patient",
    "Observation",
    "DiagnosticReport",
    "Bundle",
    "OperationOutcome",
    "Parameters",
    "List",
    "",
    "patient",
)


def mutate_json(value: Any, random: Random) -> bytes:
    """A document near the one given, as bytes that need not be JSON."""
    changed = json.loads(json.dumps(value))
    for _ in range(random.choice((1, 1, 2, 3, 8))):
        changed = _changed(changed, random)
    text = json.dumps(changed, ensure_ascii=random.random() < 0.5)
    if random.random() < 0.08:
        text = _doubled_key(text, random)
    data = text.encode("utf-8", "surrogatepass")
    if random.random() < 0.05:
        data = _nested(random)
    if random.random() < 0.1:
        data = mutate_bytes(data, random)
    if random.random() < 0.03:
        data = text.encode(random.choice(("utf-16", "utf-32", "utf-8-sig")), "surrogatepass")
    return data


def _nested(random: Random) -> bytes:
    depth = random.choice((50, 150, 600, 1200, 10_000, 100_000))
    opening = random.choice((b"[", b'{"a":', b'{"contained":[', b'{"entry":[{"resource":'))
    closing = {b"[": b"]", b'{"a":': b"}", b'{"contained":[': b"]}", b'{"entry":[{"resource":': b"}]}"}[opening]
    return opening * depth + b"1" + (closing * depth if random.random() < 0.7 else b"")


def _doubled_key(text: str, random: Random) -> str:
    at = [index for index, letter in enumerate(text) if letter == "{"]
    place = random.choice(at) if at else 0
    return text[: place + 1] + '"resourceType": "Patient", "resourceType": 1, ' + text[place + 1 :]


def _changed(value: Any, random: Random) -> Any:
    """One place of the document changed."""
    places: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        pairs = each.items() if isinstance(each, dict) else enumerate(each) if isinstance(each, list) else ()
        for key, inner in pairs:
            places.append((each, key))
            waiting.append(inner)
    if not places:
        return deepcopy(random.choice(ODD))
    holder, key = random.choice(places)
    choice = random.randrange(8)
    if choice < 3:
        holder[key] = _odd(holder[key], random)
    elif choice == 3:
        del holder[key]
    elif choice == 4:
        other, inner = random.choice(places)
        try:
            holder[key] = deepcopy(other[inner])
        except (KeyError, IndexError):
            holder[key] = None
    elif choice == 5:
        holder[key] = [deepcopy(holder[key]) for _ in range(random.choice((1, 2, 50 if len(places) < _MANY else 1)))]
    elif choice == 6 and isinstance(holder, dict):
        holder[random.choice(("", "id", "entry", "value", "contained", "a" * 300, "\x00", str(key).upper()))] = (
            holder.pop(key)
        )
    else:
        holder[key] = {"resourceType": random.choice(_KINDS), "id": deepcopy(random.choice(ODD)), "entry": holder[key]}
    return value


def _odd(value: Any, random: Random) -> Any:
    if isinstance(value, str) and random.random() < 0.5 and value:
        at = random.randrange(len(value))
        return (
            value[:at]
            + random.choice(("\x00", "é", "\ud800", "/", "-", " ", "%", "9", "😀", "|", "$", ",", "\\"))
            + value[at + 1 :]
        )
    if isinstance(value, int | float) and random.random() < 0.4:
        return value * random.choice((-1, 10**6, 0))
    return deepcopy(random.choice(ODD))


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """Bytes changed, doubled, cut or put in."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(made) + 1)
        choice = random.randrange(7)
        if choice == 0 and made:
            made[min(at, len(made) - 1)] ^= 1 << random.randrange(8)
        elif choice == 1 and made:
            made[min(at, len(made) - 1)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        elif choice == 2:
            made[at:at] = random.randbytes(random.choice((1, 2, 4, 8)))
        elif choice == 3:
            del made[at : at + random.choice((1, 2, 4, 64))]
        elif choice == 4:
            del made[at:]
        elif choice == 5:
            made[at:at] = made[at : at + random.choice((1, 8, 64))] * random.choice((1, 2, 20))
        else:
            made[at:at] = random.choice(
                (b"\xff" * 8, b"\0" * 8, b"\x80" * 10, b"[" * 2000, b"9" * 400, b"\xed\xa0\x80", b"\r\n")
            )
    return bytes(made)


def mutate_text(data: bytes, random: Random) -> bytes:
    """Lines and words of a text (TOML, query strings) changed; now and then its bytes."""
    if random.random() < 0.25:
        return mutate_bytes(data, random)
    lines = data.decode("utf-8", "replace").split("\n")
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(lines))
        choice = random.randrange(6)
        if choice == 0:
            del lines[at]
        elif choice == 1:
            lines.insert(at, lines[random.randrange(len(lines))] if lines else "")
        elif choice == 2:
            name, equals, _value = lines[at].partition("=")
            lines[at] = f"{name}{equals} {_literal(random)}"
        elif choice == 3:
            lines.insert(
                at, random.choice(("[a.b.c]", "[[x]]", "a = {b = {c = 1}}", "[[", "x = " + "[" * 5000, "= 1", '"" = 1'))
            )
        elif choice == 4:
            words = lines[at].split(" ")
            random.shuffle(words)
            lines[at] = " ".join(words)
        else:
            lines[at] = lines[at].replace(random.choice('"=[].'), random.choice(("", "'", "\\", "]")))
        if not lines:
            return b""
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _literal(random: Random) -> str:
    return random.choice(
        ('""', "''", "0", "-1", "1e308", "nan", "inf", "-inf", "true", "[]", "[[]]", "{}", "1979-05-27", '"\\u0000"',
         '"../../x"', '"http://["', '"http://a:b@c/"', '["a", 1]', "0x7fffffffffffffff", "9" * 30,
         '"' + "a" * 5000 + '"',
         "1_0", '"\\uD7FF"', "{a = 1, b = {}}", "07:32:00", '"10.0.0.0/99"', "[0.0, nan]", '"%s"', "1e-320")
    )  # fmt: skip
