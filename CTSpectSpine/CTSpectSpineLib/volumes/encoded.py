"""Voxels of a file as bytes: all that its header states, read to the end of the stream, or none.

ITK completes a short file with whatever is in memory and ignores the checksum at the end of a
compressed one. Here the sizes must agree, a compressed stream must end, and where it carries a
checksum (gzip, zlib, bzip2) that is verified. Voxels that are stored uncompressed have none: a
changed value among them cannot be noticed.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from CTSpectSpineLib.errors import InputError

Encoding = Literal["raw", "gzip", "zlib", "bzip2"]

_PIECE = 1 << 20
"""Bytes that are read and decompressed at a time. Numerical: bounds the memory."""
_GZIP = 16
"""By definition: added to a window's size, a stream has the header and checksum of gzip (zlib)."""
_LARGEST_RATIO = {"gzip": 1100, "zlib": 1100, "bzip2": 30_000}
"""Most bytes that one compressed byte can stand for. By definition: DEFLATE reaches 1032; bzip2
encodes 900 kB of zeros in 39 bytes."""
_START = 1 << 16
"""Bytes of a stream that the ratio does not bind. Numerical: headers of short streams."""


@dataclass(frozen=True)
class EncodedVoxels:
    """Where the voxels of a file are, and how they are stored.

    Attributes
    ----------
    path
        The file with the voxels.
    encoding
        How they are stored.
    start
        First byte of the stream in the file; negative for raw voxels at the end of the file.
    skip
        Bytes before the voxels in the decompressed stream.
    count
        Bytes of voxels that the header states.
    spare
        Bytes from which on too many are an error; fewer are padding.
    """

    path: Path
    encoding: Encoding
    start: int
    skip: int
    count: int
    spare: int

    def read(self) -> bytes | memoryview:
        """The voxels.

        Raises
        ------
        InputError
            If the file holds fewer or more bytes than its header states, or is damaged.
        """
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as stream:
                if self.encoding == "raw":
                    return self._raw(stream, size)
                return self._compressed(stream, size)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            if isinstance(error, InputError):
                raise
            raise self._damaged(str(error)) from error
        except (MemoryError, OverflowError) as error:
            raise InputError(
                f"{self.path}: its header states {self.count} bytes of voxels, more than the "
                "memory holds; crop the image to the spine, or copy it again if it should be "
                "smaller."
            ) from error

    def _raw(self, stream: IO[bytes], size: int) -> bytes:
        start = max(0, size - self.count) if self.start < 0 else self.start + self.skip
        held = size - start
        if held < self.count:
            raise self._cut_off(held)
        if held - self.count >= self.spare:
            raise self._too_much(str(held))
        stream.seek(start)
        return stream.read(self.count)

    def _compressed(self, stream: IO[bytes], size: int) -> memoryview:
        whole = self.skip + self.count
        if whole > _START + _LARGEST_RATIO[self.encoding] * size:
            raise InputError(
                f"{self.path}: its header states voxels up to byte {whole}, far more than the "
                f"{size} bytes of the file can hold; the header is damaged, or the file is cut "
                "off: copy it again."
            )
        stream.seek(self.start)
        content = bytearray()
        held = 0
        for piece in _decompressed(stream, self.encoding):
            held += len(piece)
            if held - whole >= self.spare:
                raise self._too_much("more")
            content += piece[: max(0, whole - len(content))]
        if held < whole:
            raise self._cut_off(held - self.skip)
        return memoryview(content)[self.skip :]

    def _damaged(self, reason: str) -> InputError:
        return InputError(
            f"{self.path}: the voxels cannot be read ({reason}); the file is damaged, copy it "
            "again."
        )

    def _cut_off(self, held: int) -> InputError:
        return InputError(
            f"{self.path}: the file is cut off ({max(0, held)} of {self.count} bytes of voxels), "
            "or its header is damaged; copy it again."
        )

    def _too_much(self, held: str) -> InputError:
        return InputError(
            f"{self.path}: its header states {self.count} bytes of voxels, but the file holds "
            f"{held}; the header is damaged, write the file again from the original images."
        )


def _decompressed(stream: IO[bytes], encoding: Encoding) -> Iterator[bytes]:
    """Pieces of the decompressed stream; raises where it does not end or its checksum is wrong."""
    if encoding == "zlib":
        yield from _inflated(stream, b"", zlib.MAX_WBITS)
    elif encoding == "gzip":
        # The library's own reader takes half as long again.
        start = stream.read(_PIECE)
        while start:
            start = yield from _inflated(stream, start, zlib.MAX_WBITS | _GZIP)
            # Further members may follow, and zeros up to the end of a block.
            while not (start := start.lstrip(b"\0")) and (more := stream.read(_PIECE)):
                start = more
    else:
        with bz2.BZ2File(stream) as content:
            while piece := content.read(_PIECE):
                yield piece


def _inflated(stream: IO[bytes], start: bytes, window: int) -> Generator[bytes, None, bytes]:
    """Pieces of one compressed stream that begins with `start`; returns what was read beyond it."""
    inflater = zlib.decompressobj(window)
    tail = start
    while not inflater.eof:
        tail = tail or stream.read(_PIECE)
        piece = inflater.decompress(tail, _PIECE)
        if not tail and not piece:
            raise EOFError("the compressed stream does not end")
        yield piece
        tail = inflater.unconsumed_tail
    return inflater.unused_data


def check_voxel_file(source: Path, voxels: Path) -> None:
    """Check that the file with the voxels of a header is there.

    Raises
    ------
    InputError
        If it is not.
    """
    try:
        there = voxels.is_file()
    except (OSError, ValueError):  # no possible name of a file
        there = False
    if not there:
        raise InputError(f"{source}: its voxels {voxels.name[:80]} do not exist; copy both files.")
