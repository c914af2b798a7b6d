"""Compression of voxels most of which are 0, as those of segmentations are.

A compressor spends as long on zeros as on what is worth compressing. A run of zeros has one
compressed form, whatever stands around it, so it is made once and put in as it is: blocks of
deflate can follow each other in any order where the compressor was flushed fully between them (RFC
1951; zlib's manual on ``Z_FULL_FLUSH``). The stream is one ordinary member of gzip (RFC 1952).
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import BinaryIO

_LEVEL = 4
"""Effort of the compressor, 1 to 9. Judgement: more takes much longer for little."""
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Head of a gzip stream without name and time. Standard: RFC 1952."""
_LONGEST, _SHORTEST = 20, 9
"""Longest and shortest run of zeros that is put in at once, as powers of 2. Numerical: shorter runs
cost more bytes than they save time."""
_RAW = -zlib.MAX_WBITS
"""Blocks alone, without head and end. By definition: how zlib asks for them."""
_WRAP = 1 << 32
"""Lengths are counted up to this. Standard: RFC 1952."""


class GzipOfMostlyZeros:
    """Writes a gzip stream; the same bytes give the same file.

    Parameters
    ----------
    stream
        Where to write.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
        self._checksum = 0
        self._length = 0
        stream.write(_HEADER)

    def write(self, block: bytes) -> None:
        """Add bytes."""
        if block:
            self._count(block)
            self._stream.write(self._compressor.compress(block))
            self._stream.write(self._compressor.flush(zlib.Z_FULL_FLUSH))

    def zeros(self, count: int) -> None:
        """Add so many zeros."""
        for power in range(_LONGEST, _SHORTEST - 1, -1):
            while count >= 1 << power:
                self._count(_zeros(power))
                self._stream.write(_compressed_zeros(power))
                count -= 1 << power
        self.write(bytes(count))

    def finish(self) -> None:
        """Write the end; the stream stays open."""
        self._stream.write(self._compressor.flush(zlib.Z_FINISH))
        self._stream.write(self._checksum.to_bytes(4, "little"))
        self._stream.write((self._length % _WRAP).to_bytes(4, "little"))

    def _count(self, block: bytes) -> None:
        self._checksum = zlib.crc32(block, self._checksum)
        self._length += len(block)


@cache
def _zeros(power: int) -> bytes:
    return bytes(1 << power)


@cache
def _compressed_zeros(power: int) -> bytes:
    """A run of zeros as blocks of deflate that end at a byte and refer to nothing before them."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    return compressor.compress(_zeros(power)) + compressor.flush(zlib.Z_FULL_FLUSH)
