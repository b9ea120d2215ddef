# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes the index of a version 4 stream ("Index" in
docs/devel/migration-v4/wire-format.rst), independently of the C code.

Not a test: no TAP in here.
"""

import dataclasses
import struct

from interop import wire

ENTRY = struct.Struct('>IIIHBQI')
RESUMED = 1


@dataclasses.dataclass
class Entry:
    """What the index says of a section."""
    section_id: int
    instance: int
    version: int
    name: str
    flags: int = 0
    length: int = 0
    crc: int = 0

    def encode(self):
        name = self.name.encode()
        return ENTRY.pack(self.section_id, self.instance, self.version,
                          self.flags, len(name), self.length,
                          self.crc) + name


def decode(payload):
    """The entries of an index."""
    entries, at = [], 0
    while at < len(payload):
        (section_id, instance, version, flags, size, length,
         crc) = ENTRY.unpack_from(payload, at)
        at += ENTRY.size + size
        assert at <= len(payload), f'the index ends within entry {entries}'
        entries.append(Entry(section_id, instance, version,
                             payload[at - size:at].decode(), flags, length,
                             crc))
    return entries


def encode(entries):
    """The records of an index with these entries."""
    return wire.chain(wire.INDEX, b''.join(e.encode() for e in entries))


def of(records):
    """The entries that are right for these records."""
    entries, current, sums = [], {}, {}
    for record in records:
        if record.type not in wire.SECTIONS:
            continue
        key = record.section_id
        if record.identifies:
            instance, version, _ = wire.IDENT.unpack_from(record.payload)
            current[key] = Entry(key, instance, version, record.name)
            sums[key] = b''
            entries.append(current[key])
        sums[key] += struct.pack('>I', wire.crc32c(record.checked))
        current[key].length += len(record.payload)
        current[key].crc = wire.crc32c(sums[key])
    return entries
