# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes the records of a version 4 stream, independently of the C
code, after docs/devel/migration-v4/wire-format.rst.

Not a test: no TAP in here.
"""

import dataclasses
import functools
import struct

PREAMBLE = struct.Struct('>II')
HEADER = struct.Struct('>HHIIIQI')
IDENT = struct.Struct('>IIB')

MAGIC, VERSION = 0x5145564d, 4
END, START, PART, SECTION_END, FULL = 0, 1, 2, 3, 4
VMDESCRIPTION, CONFIGURATION, COMMAND, RETURN_PATH = 6, 7, 8, 9
INDEX, PAGES, COLO, HELLO, HANDOVER = 10, 11, 12, 13, 14
MACHINE, MACHINE_END, FACTS, PACKET, VERDICT = 15, 16, 17, 18, 19
SECTIONS = START, PART, SECTION_END, FULL
LAST, OPTIONAL, HEAD = 1, 2, 4
PAYLOAD_MAX = 1 << 17

# name, offset and size of the fields of a record's header
FIELDS = [('type', 0, 2), ('flags', 2, 2), ('section id', 4, 4),
          ('length', 8, 4), ('payload checksum', 12, 4), ('offset', 16, 8),
          ('header checksum', 24, 4)]


def _table():
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        yield value


TABLE = tuple(_table())


def crc32c(data):
    return _crc32c(bytes(data))


# A stream is encoded many times with little changed.
@functools.lru_cache(maxsize=1 << 14)
def _crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


assert crc32c(b'123456789') == 0xe3069283


@dataclasses.dataclass
class Record:
    """A record, where it stands, and which section it belongs to."""
    type: int
    flags: int
    section_id: int
    payload: bytes
    offset: int = 0
    ident_size: int = 0         # bytes of identification in the payload
    name: str = None
    instance: int = None

    @property
    def size(self):
        return HEADER.size + len(self.payload)

    @property
    def checked(self):
        """The bytes that the record's checksum is of."""
        if self.flags & HEAD and len(self.payload) >= 4:
            return self.payload[:int.from_bytes(self.payload[:4], 'big')]
        return self.payload

    @property
    def identifies(self):
        return self.ident_size > 0

    def encode(self, offset):
        """The record's bytes, at any offset in the stream."""
        head = HEADER.pack(self.type, self.flags, self.section_id,
                           len(self.payload), crc32c(self.checked), offset, 0)
        head = head[:-4]
        return head + struct.pack('>I', crc32c(head)) + self.payload

    def described(self):
        """What a message must call it."""
        if self.name is not None:
            return f"section '{self.name}' (instance {self.instance})"
        names = {END: 'end', VMDESCRIPTION: 'description',
                 CONFIGURATION: 'configuration', COMMAND: 'command',
                 RETURN_PATH: 'return path', INDEX: 'index', PAGES: 'pages',
                 COLO: 'COLO', HELLO: 'hello', HANDOVER: 'hand-over',
                 MACHINE: 'machine', MACHINE_END: 'machine end',
                 FACTS: 'facts', PACKET: 'packet', VERDICT: 'verdict'}
        known = names.get(self.type)
        return f'the {known} record' if known else (
            f'a record of unknown type 0x{self.type:04x}')


def parse(data):
    """All records of a whole stream, each of them checked."""
    magic, version = PREAMBLE.unpack_from(data)
    assert (magic, version) == (MAGIC, VERSION), f'{magic:x} {version}'
    records, sections = [], {}
    offset, chained = PREAMBLE.size, None
    while not records or records[-1].type != END:
        (kind, flags, section_id, length, crc, place,
         head_crc) = HEADER.unpack_from(data, offset)
        assert place == offset, f'offset {place} at {offset}'
        assert head_crc == crc32c(data[offset:offset + HEADER.size - 4])
        begin = offset + HEADER.size
        payload = data[begin:begin + length]
        record = Record(kind, flags, section_id, payload, offset)
        assert len(payload) == length and crc == crc32c(record.checked)
        if chained:
            assert (kind, section_id) == (chained.type, chained.section_id)
        elif kind in (START, FULL):
            instance, _version, size = IDENT.unpack_from(payload)
            record.ident_size = IDENT.size + size + 4
            crc, = struct.unpack_from('>I', payload, IDENT.size + size)
            assert crc == crc32c(payload[:IDENT.size + size])
            name = payload[IDENT.size:IDENT.size + size].decode()
            assert section_id not in sections, f'{name}: id taken'
            sections[section_id] = name, instance
        if kind in SECTIONS:
            record.name, record.instance = sections[section_id]
        records.append(record)
        chained = None if flags & LAST else record
        offset += record.size
    assert offset == len(data), f'{len(data) - offset} bytes behind the end'
    return records


def chain(kind, payload, flags=0, section_id=0):
    """As many records as a payload takes; flags are those beside LAST."""
    pieces = [payload[at:at + PAYLOAD_MAX]
              for at in range(0, len(payload), PAYLOAD_MAX)] or [b'']
    records = [Record(kind, flags, section_id, piece) for piece in pieces]
    records[-1].flags |= LAST
    return records


def content(records, kind):
    """What all chains of a type hold, one behind the other."""
    return b''.join(r.payload for r in records if r.type == kind)


def ident(name, instance=0, version=1, length=None):
    """An identification; length, if it is not to be that of the name."""
    name = name.encode()
    size = len(name) if length is None else length
    data = IDENT.pack(instance, version, size) + name
    return data + struct.pack('>I', crc32c(data))


def encode(records):
    """A stream of these records, with offsets that follow from their order."""
    data = PREAMBLE.pack(MAGIC, VERSION)
    for record in records:
        data += record.encode(len(data))
    return data
