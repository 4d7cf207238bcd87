"""XMP blocks: taking out what a result no longer has, joining and splitting those too long for one JPEG segment."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from xml.parsers import expat

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NOTE = "http://ns.adobe.com/xmp/note/"
_CAMERA = "http://ns.google.com/photos/1.0/camera/"
_CONTAINERS = ("http://ns.google.com/photos/1.0/container/", "http://ns.google.com/photos/1.0/container/item/")
_GAIN_MAPS = ("http://ns.adobe.com/hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/")
_TAG = re.compile(rb"""<(?:[^"'>]|"[^"]*"|'[^']*')*>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>"'/]+)\s*=\s*(?:"[^"]*"|'[^']*')""")
_PACKET = re.compile(rb"<\?xpacket[^>]*\?>")
_DEEPEST = 100
_MAIN = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{rdf}"><rdf:Description rdf:about="" '
    'xmlns:xmpNote="{note}" xmpNote:HasExtendedXMP="{digest}"/></rdf:RDF></x:xmpmeta>'
)


def without_promises(block: bytes) -> bytes:
    """Take out the entries about videos, further pictures and gain maps that follow a picture in its file.

    A block that cannot be parsed stays as it is.
    """
    return _without(block, _promises)


def merged(main: bytes, extended: bytes) -> bytes | None:
    """Join a block and its extension into one; None if that cannot be done."""
    main = _without(main, lambda space, name: (space, name) == (_NOTE, "HasExtendedXMP"))
    one, other = _Scan(main), _Scan(extended)
    if not (one.scan(_nothing) and other.scan(_nothing) and one.rdf_end > one.rdf_start and other.rdf_end):
        return None
    declared = {**other.declared}
    for prefix, space in list(declared.items()):
        if one.declared.get(prefix, space) != space:
            return None
        if prefix in one.declared:
            del declared[prefix]
    names = "".join(f' xmlns{":" + prefix if prefix else ""}="{space}"' for prefix, space in declared.items())
    inside = extended[other.rdf_start : other.rdf_end]
    start, end = one.rdf_start - 1, one.rdf_end  # before the bracket that ends the start tag
    return main[:start] + names.encode() + main[start:end] + inside + main[end:]


def split(block: bytes) -> tuple[bytes, bytes, str]:
    """Divide a block that is too long for a JPEG segment.

    Returns:
        A short block that points to the extension, the extension, and its digest (XMP part 3, 1.1.3.1).
    """
    extended = _PACKET.sub(b"", block).strip()
    digest = hashlib.md5(extended, usedforsecurity=False).hexdigest().upper()
    return _MAIN.format(rdf=_RDF, note=_NOTE, digest=digest).encode(), extended, digest


def digest_in(main: bytes, extended: bytes) -> str:
    """The digest by which a block points to its extension; empty if it does not."""
    digest = hashlib.md5(extended, usedforsecurity=False).hexdigest()
    return next((text for text in (digest.upper(), digest) if text.encode() in main), "")


def _promises(space: str, name: str) -> bool:
    if space == _CAMERA:
        return name.startswith(("MotionPhoto", "MicroVideo"))
    return space in _GAIN_MAPS or space in _CONTAINERS


def _nothing(_space: str, _name: str) -> bool:
    return False


def _without(block: bytes, unwanted: Callable[[str, str], bool]) -> bytes:
    scan = _Scan(block)
    if not scan.scan(unwanted):
        return block
    for start, end in sorted(scan.spans, reverse=True):
        block = block[:start] + block[end:]
    return block


class _RefusedError(Exception):
    """The block has a document type."""


class _Scan:
    """Where things stand in a block.

    Attributes:
        spans: Beginning and end of each unwanted element and attribute.
        declared: Namespaces by prefix that hold where the content of RDF begins.
        rdf_start: Where that content begins.
        rdf_end: Where it ends.
    """

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.spans: list[tuple[int, int]] = []
        self.declared: dict[str, str] = {}
        self.rdf_start = self.rdf_end = 0
        self._unwanted: Callable[[str, str], bool] = _nothing
        self._prefixes: dict[str, str] = {}
        self._open: list[int | None] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartNamespaceDeclHandler = self._declare
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._finish
        self._parser.StartDoctypeDeclHandler = _refuse

    def scan(self, unwanted: Callable[[str, str], bool]) -> bool:
        """Go through the block once; False if it is no XML."""
        self._unwanted = unwanted
        try:
            self._parser.Parse(self.block.rstrip(b"\0"), True)
        except (expat.ExpatError, _RefusedError, ValueError):
            return False
        return self.block[:2] not in (b"\xfe\xff", b"\xff\xfe")

    def _declare(self, prefix: str | None, space: str | None) -> None:
        self._prefixes[prefix or ""] = space or ""
        if not self.rdf_start:
            self.declared[prefix or ""] = space or ""

    def _begin(self, name: str, _attributes: dict[str, str]) -> None:
        at = self._parser.CurrentByteIndex
        tag = _TAG.match(self.block, at)
        if tag is None or len(self._open) >= _DEEPEST:
            raise _RefusedError
        if name == f"{_RDF} RDF":
            self.rdf_start = tag.end()
        inside = any(start is not None for start in self._open)
        is_unwanted = self._unwanted(*_parted(name))
        self._open.append(at if is_unwanted and not inside else None)
        if is_unwanted or inside:
            return
        for attribute in _ATTRIBUTE.finditer(self.block, at, tag.end()):
            prefix, _, local = attribute[1].decode("utf-8", "replace").rpartition(":")
            if prefix and self._unwanted(self._prefixes.get(prefix, ""), local):
                self.spans.append(attribute.span())

    def _finish(self, name: str) -> None:
        at = self._parser.CurrentByteIndex
        start = self._open.pop()
        if start is not None:
            # Of an element without content, the parser is behind it already.
            is_end_tag = self.block[at : at + 2] == b"</"
            self.spans.append((start, self.block.index(b">", at) + 1 if is_end_tag else at))
        if name == f"{_RDF} RDF":
            self.rdf_end = at


def _refuse(*_: object) -> None:
    raise _RefusedError


def _parted(name: str) -> tuple[str, str]:
    space, _, local = name.rpartition(" ")
    return space, local
