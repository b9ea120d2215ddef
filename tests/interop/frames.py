# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and writes the frames inside a section of a version 4 stream
("Frames" in docs/devel/migration-v4/wire-format.rst), independently of the C
code: a section becomes a tree, which can be changed and written again.

What stands between the frames is told by the description in the stream.

Not a test: no TAP in here.
"""

import dataclasses
import struct

HEADER = struct.Struct('>IIIHB')
OPTIONAL, ARRAY, FRAMES = 1, 2, 4
NULL = b'0'             # instead of an element that is not there
DEPTH_MAX = 32


class BadFrame(Exception):
    """The bytes are not the frames that the description tells of."""


@dataclasses.dataclass
class Leaf:
    """A field that is no structure, or bytes that nobody describes."""
    name: str
    type: str
    data: bytes

    def encode(self):
        return self.data


@dataclasses.dataclass
class Element:
    """The fields of one element of an array without FRAMES."""
    parts: list

    def encode(self):
        return b''.join(part.encode() for part in self.parts)


@dataclasses.dataclass
class Frame:
    """A structure.  count and length: None for what is right."""
    name: str
    version: int = 1
    flags: int = 0
    parts: list = dataclasses.field(default_factory=list)
    subsections: list = dataclasses.field(default_factory=list)
    count: int = None
    length: int = None
    field: str = None       # the field that it stands for, where it is known

    @property
    def is_array(self):
        return bool(self.flags & ARRAY)

    @property
    def inner(self):
        """The frames right inside of this one, in order."""
        for part in self.parts:
            if isinstance(part, Element):
                yield from (p for p in part.parts if isinstance(p, Frame))
            elif isinstance(part, Frame):
                yield part
        yield from self.subsections

    def walk(self, path=()):
        """This frame and all inside of it, each with those around it."""
        yield self, path
        for frame in self.inner:
            yield from frame.walk((*path, self))

    def find(self, name):
        """The first frame of that name in here."""
        for frame, _ in self.walk():
            if frame.name == name:
                return frame
        raise KeyError(f'there is no {name} in {self.name}')

    def before(self, child, *added):
        """Puts frames before one that is right inside of this one."""
        for parts in (self.parts, self.subsections,
                      *(e.parts for e in self.parts
                        if isinstance(e, Element))):
            for at, part in enumerate(parts):
                if part is child:
                    parts[at:at] = added
                    return
        raise KeyError(f'there is no {child.name} right inside {self.name}')

    def encode(self):
        body = b''.join(part.encode()
                        for part in (*self.parts, *self.subsections))
        count = len(self.parts if self.is_array else self.subsections)
        name = self.name.encode()
        return HEADER.pack(
            len(body) if self.length is None else self.length, self.version,
            count if self.count is None else self.count, self.flags,
            len(name)) + name + body


def made_up(name, flags=0, version=1, data=b'what nobody knows'):
    """A frame that no reader knows."""
    return Frame(name, version, flags, [Leaf('data', 'buffer', data)])


def structure(field):
    """The description of the structure that a field is, or None."""
    return field.get('struct')


class _Parser:
    def __init__(self, data):
        self.data = data

    def need(self, condition, at, text):
        if not condition:
            raise BadFrame(f'at byte {at}: {text}')

    def header(self, at, end):
        """A frame without its contents, and where its body begins and
        ends."""
        self.need(at + HEADER.size <= end, at, 'no room for a frame')
        length, version, count, flags, size = HEADER.unpack_from(self.data, at)
        begin = at + HEADER.size + size
        self.need(size and begin + length <= end, at,
                  f'a name of {size} bytes and a frame of {length}, with '
                  f'{end - at} left')
        self.need(not flags & ~(OPTIONAL | ARRAY | FRAMES), at,
                  f'flags 0x{flags:x}')
        name = self.data[begin - size:begin].decode()
        return (Frame(name, version, flags, count=count), begin,
                begin + length)

    def frame(self, at, end, described, depth=1):
        """The frame at a place, and where it ends.  described: its structure
        and, for an array, its elements' in order (or one for all)."""
        self.need(depth <= DEPTH_MAX, at, 'too deep')
        frame, begin, stop = self.header(at, end)
        if frame.is_array:
            self.elements(frame, begin, stop, described, depth)
        else:
            self.body(frame, begin, stop, described[0], depth)
        frame.count = None
        return frame, stop

    def body(self, frame, at, stop, struct_, depth):
        if struct_ is None:
            frame.parts = [Leaf('undescribed', 'buffer', self.data[at:stop])]
            return
        frame.parts, at = self.fields(at, stop, struct_, depth)
        described = {sub['vmsd_name']: sub
                     for sub in struct_.get('subsections', ()) if sub}
        for _ in range(frame.count):
            name = self.header(at, stop)[0].name
            sub, at = self.frame(at, stop, [described.get(name)], depth + 1)
            frame.subsections.append(sub)
        self.need(at == stop, at, f'{frame.name} ends at {stop}')

    def elements(self, frame, at, stop, described, depth):
        if len(described) == 1:
            described = described * frame.count
        self.need(len(described) == frame.count, at, f'{frame.name} has '
                  f'{frame.count} elements, described {len(described)}')
        for struct_ in described:
            if not struct_ or not struct_.get('vmsd_name'):
                self.need(self.data[at:at + 1] == NULL, at, 'not NULL')
                element, at = Leaf('NULL', 'nullptr', NULL), at + 1
            elif frame.flags & FRAMES:
                element, at = self.frame(at, stop, [struct_], depth + 1)
            else:
                parts, at = self.fields(at, stop, struct_, depth)
                element = Element(parts)
            frame.parts.append(element)
        self.need(at == stop, at, f'{frame.name} ends at {stop}')

    def fields(self, at, stop, struct_, depth):
        """What stands for the fields of a structure, and where that ends."""
        parts = []
        fields = struct_.get('fields', [])
        number = 0
        while number < len(fields):
            field = fields[number]
            number += 1
            struct_ = structure(field)
            if struct_ is None:
                size = field['size'] * field.get('array_len', 1)
                self.need(at + size <= stop, at,
                          f'no room for {field["name"]}')
                parts.append(Leaf(field['name'], field['type'],
                                  self.data[at:at + size]))
                at += size
                continue
            described = [struct_]
            # The elements of an array stand one behind the other.
            while (field.get('index') == 0 and number < len(fields)
                   and fields[number].get('index', 0) > 0
                   and fields[number]['name'] == field['name']):
                described.append(structure(fields[number]))
                number += 1
            frame, at = self.frame(at, stop, described, depth + 1)
            frame.field = field['name']
            parts.append(frame)
        return parts, at


def parse(data, struct_):
    """The tree of a structure that takes all of the data.  struct_: its
    description."""
    frame, end = _Parser(data).frame(0, len(data), [struct_])
    if end != len(data):
        raise BadFrame(f'{len(data) - end} bytes behind {frame.name}')
    return frame
