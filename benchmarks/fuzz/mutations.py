"""Damage to files: bytes, words, fields of headers, elements of DICOM, nodes of JSON."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

Mutation = Callable[[bytes, Random], bytes]

WORDS = (
    *("", "0", "-1", "1", "-0.0", "2", "3.78", "1e-300", "1e30", "1e400", "-1e400", "1,5", "1A"),
    *("nan", "inf", "-inf", "NaN", "none", "null", "true", "31.0", "0x10", "1_000", "١"),
    *("65535", "65536", "2147483647", "2147483648", "-2147483649", "9223372036854775808"),
    *("30000", "99999999999999999999", "9" * 400, "a" * 5000, "ä", "\ufeff", "\x00", "%s", "../x"),
    *(";", ",", "\t", '"', "(1,0,0)", "LIST", "LOCAL", "a\\b", "1\\2\\3\\4\\5\\6\\7"),
)
"""Texts that have been mistaken for something."""
_NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, -(2**31))
_FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-38, 1e30, 1e38, float("inf"), float("-inf"), float("nan"), 1e9)
_TOKEN = re.compile(rb"[A-Za-z_]+|[-+]?[0-9][-+0-9.eE]*")


def damage_bytes(content: bytes, rng: Random) -> bytes:
    """Flip, overwrite, cut, repeat, drop or insert bytes, once to four times."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not found:
            return bytes(found)
        place, length = rng.randrange(len(found)), rng.choice((1, 1, 2, 4, 8, 64, 1024))
        kind = rng.randrange(8)
        if kind == 0:
            found[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            found[place : place + length] = bytes([rng.choice((0, 255, 127, 128, 32))]) * length
        elif kind == 2:
            found[place : place + length] = rng.randbytes(length)
        elif kind == 3:
            del found[place:]
        elif kind == 4:
            del found[place : place + length]
        elif kind == 5:
            found[place:place] = found[place : place + length]
        elif kind == 6:
            found[place:place] = rng.randbytes(length)
        else:
            kept = rng.choice(("<H", "<I", "<f", ">I", "<d"))
            value = rng.choice(_FLOATS if kept[1] in "fd" else (0, 1, 2, 255, 32767, 65535))
            found[place : place + struct.calcsize(kept)] = struct.pack(kept, value)
    return bytes(found)


def damage_words(content: bytes, rng: Random) -> bytes:
    """Exchange words or numbers, or drop, repeat or swap lines."""
    for _ in range(rng.choice((1, 1, 2))):
        lines = content.split(b"\n")
        kind = rng.randrange(6)
        if kind < 4:
            tokens = list(_TOKEN.finditer(content))
            if not tokens:
                return damage_bytes(content, rng)
            token = rng.choice(tokens)
            word = rng.choice(WORDS).encode("utf-8", "surrogatepass")
            content = content[: token.start()] + word + content[token.end() :]
        elif kind == 4:
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            content = b"\n".join(lines)
        else:
            del lines[rng.randrange(len(lines))]
            content = b"\n".join(lines)
    return content


def damage_text(content: bytes, rng: Random) -> bytes:
    """Words mostly, bytes sometimes."""
    return rng.choice((damage_words, damage_words, damage_words, damage_bytes))(content, rng)


def damage_header(end: bytes) -> Mutation:
    """Damage the words in front of a mark, or any bytes."""

    def damage(content: bytes, rng: Random) -> bytes:
        head, mark, rest = content.partition(end)
        if rng.random() < 0.7:
            return damage_words(head, rng) + mark + rest
        return damage_bytes(content, rng)

    return damage


_NIFTI = (
    *((40 + 2 * n, "<h") for n in range(8)),
    *((offset, "<h") for offset in (68, 70, 72, 74, 252, 254)),
    *((76 + 4 * n, "<f") for n in range(8)),
    *((offset, "<f") for offset in (108, 112, 116, *range(256, 328, 4))),
    *((offset, "<i") for offset in (0, 32)),
    *((offset, "<b") for offset in (39, 123, 344, 345, 346, 348)),
)
"""Offset and type of the fields of a header. Standard: NIfTI-1."""


def damage_nifti(content: bytes, rng: Random) -> bytes:
    """Set fields of a header, or damage bytes, inside or outside of gzip."""
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.8:
        plain = damage_nifti(gzip.decompress(content), rng)
        return gzip.compress(plain, 1, mtime=0)
    if rng.random() < 0.3 or len(content) < 352:
        return damage_bytes(content, rng)
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        offset, kind = rng.choice(_NIFTI)
        if kind == "<f":
            value: float = rng.choice((*_FLOATS, rng.uniform(-1e3, 1e3)))
        else:
            bits = 8 * struct.calcsize(kind)
            value = rng.choice((*_NUMBERS, rng.randrange(-(2**31), 2**31)))
            value = (int(value) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
        struct.pack_into(kind, found, offset, value)
    return bytes(found)


_LONG = {b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN", b"OD", b"OL", b"UC", b"UR"}
"""Value representations with a length of four bytes. Standard: DICOM PS3.5."""
_VRS = (*_LONG, b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN")
_VRS = (*_VRS, b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"ZZ", b"\x00\x00")


def _elements(content: bytes) -> list[tuple[int, int, int]]:
    """Begin, value and end of all elements of explicit little endian, nested ones too."""
    found = []
    place = 132
    while place + 8 <= len(content):
        if content[place : place + 4] in (b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0"):
            place += 8
            continue
        vr = content[place + 4 : place + 6]
        start, form = (place + 12, "<I") if vr in _LONG else (place + 8, "<H")
        if start > len(content):
            break
        (length,) = struct.unpack_from(form, content, start - struct.calcsize(form))
        end = start if vr == b"SQ" or length == 0xFFFFFFFF else start + length
        found.append((place, start, min(end, len(content))))
        place = end
    return found


def damage_dicom(content: bytes, rng: Random) -> bytes:
    """Damage elements: value, length, representation; drop, repeat, nest them; or bytes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        elements = _elements(content)
        kind = rng.randrange(10)
        if not elements or kind == 0:
            content = damage_bytes(content, rng)
            continue
        begin, value, end = rng.choice(elements)
        long = content[begin + 4 : begin + 6] in _LONG
        if kind <= 5:
            word = rng.choice(WORDS).encode("utf-8")[: 65000 if not long else None]
            new = rng.choice((word, rng.randbytes(max(1, end - value)), content[value:end] * 2))
            new = new[:65534] + b" " * (len(new[:65534]) % 2)
            size = struct.pack("<I" if long else "<H", len(new))
            content = content[: value - len(size)] + size + new + content[end:]
        elif kind == 6:
            vr = rng.choice(_VRS)
            content = content[: begin + 4] + vr + content[begin + 6 :]
        elif kind == 7:
            content = content[:begin] + content[end:]
        elif kind == 8:
            content = content[:begin] + content[begin:end] * 2 + content[end:]
        else:
            nested = b"\x54\x00\x22\x00SQ\x00\x00" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
            content = content[:begin] + nested * rng.choice((1, 50, 3000)) + content[begin:]
    return content


def damage_json(content: bytes, rng: Random) -> bytes:
    """Exchange, drop or nest nodes; or damage the text."""
    if rng.random() < 0.25:
        return damage_text(content, rng)
    values = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        values = _changed(values, rng)
    text = json.dumps(values, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.02:
        text = "[" * 100_000 + text
    return text.encode("utf-8", "surrogatepass")


def _strange(rng: Random, old: Any) -> Any:
    deep: Any = 1
    for _ in range(rng.choice((2, 400))):
        deep = [deep]
    plain: tuple[Any, ...] = (
        None,
        True,
        False,
        [],
        {},
        "",
        0,
        -1,
        1e308,
        10**400,
        float("nan"),
        float("inf"),
    )
    made = (rng.choice(WORDS), rng.choice(_NUMBERS), [old], {"x": old}, [old] * 3, str(old), deep)
    return rng.choice((*plain, *made))


def _changed(values: Any, rng: Random) -> Any:
    """The values with one node changed; the deeper the likelier."""
    if isinstance(values, dict) and values and rng.random() < 0.9:
        key = rng.choice(list(values))
        if rng.random() < 0.15:
            return {k: v for k, v in values.items() if k != key}
        if rng.random() < 0.05:
            return {rng.choice(WORDS): values[key], **values}
        return {**values, key: _changed(values[key], rng)}
    if isinstance(values, list) and values and rng.random() < 0.9:
        place = rng.randrange(len(values))
        if rng.random() < 0.15:
            return values[:place] + values[place + 1 :]
        return [*values[:place], _changed(values[place], rng), *values[place + 1 :]]
    return _strange(rng, values)


def damage_meta(content: bytes, rng: Random) -> bytes:
    """Damage the header of a MetaImage, or its compressed voxels behind a right header."""
    if rng.random() < 0.15 and b"LOCAL\n" in content:
        head, _, rest = content.partition(b"LOCAL\n")
        try:
            plain = zlib.decompress(rest)
        except zlib.error:
            plain = rest
        return head + b"LOCAL\n" + zlib.compress(damage_bytes(plain, rng))
    return damage_header(b"LOCAL\n")(content, rng)
