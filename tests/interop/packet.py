# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes packets of pages ("Packets" in
docs/devel/migration-v4/wire-format.rst), independently of the C code.

Not a test: no TAP in here.
"""

import dataclasses
import struct
import zlib

from interop import wire

HEAD = struct.Struct('>IBBHIIB')
ENTRY = struct.Struct('>QII')
PAGES, ROUND = 0, 1
PLAIN, ZLIB, ZSTD = 0, 1, 2
VERDICT = 1
PAGE = 4096


@dataclasses.dataclass
class Packet:
    """A packet; an entry is an offset, how many zeros, and a checksum."""
    kind: int = PAGES
    compression: int = PLAIN
    flags: int = 0
    round: int = 1
    name: str = 'pc.ram'
    entries: list = dataclasses.field(default_factory=list)
    data: bytes = b''

    def page(self, offset, content):
        """Adds a page."""
        self.entries.append((offset, 0, wire.crc32c(content)))
        self.data += content
        return self

    def zeros(self, offset, count=1):
        """Adds pages of zeros."""
        self.entries.append((offset, count, 0))
        return self

    def packed(self):
        """Compresses the data."""
        self.compression = ZLIB
        self.data = zlib.compress(self.data)
        return self

    def encode(self):
        """The payload of its record."""
        name = self.name.encode()
        size = HEAD.size + len(name) + ENTRY.size * len(self.entries)
        return HEAD.pack(size, self.kind, self.compression, self.flags,
                         self.round, len(self.entries), len(name)) + (
            name + b''.join(ENTRY.pack(*e) for e in self.entries) + self.data)


def end_of_round(number=1, flags=0):
    return Packet(ROUND, round=number, flags=flags, name='')


def decode(payload):
    """A packet from its record's payload."""
    size, kind, compression, flags, number, count, length = HEAD.unpack_from(
        payload)
    begin = HEAD.size + length
    assert size == begin + count * ENTRY.size, f'a head of {size} bytes'
    entries = [ENTRY.unpack_from(payload, begin + n * ENTRY.size)
               for n in range(count)]
    return Packet(kind, compression, flags, number,
                  payload[HEAD.size:begin].decode(), entries, payload[size:])


def of(records):
    """The packets of a stream."""
    return [decode(r.payload) for r in records if r.flags & wire.HEAD]


def section(start, packets):
    """Records of a section 'ram' that has these packets: a list for each of its
    parts, of which the last is its end."""
    found = []
    for n, part in enumerate(packets):
        kind = wire.SECTION_END if n + 1 == len(packets) else wire.PART
        found += [wire.Record(kind, wire.HEAD, start.section_id, p.encode())
                  for p in part]
        found.append(wire.Record(kind, wire.LAST, start.section_id,
                                 struct.pack('>Q', 0x10)))
    for record in found:
        record.name, record.instance = start.name, start.instance
    return found
