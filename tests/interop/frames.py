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
OPTIONAL, ARRAY, FRAMES, UNUSED, SPARE = 1, 2, 4, 8, 16
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
    elements: int = None    # if it is an array

    def encode(self):
        return self.data


@dataclasses.dataclass
class Group:
    """Parts with no frame around them: an element of an array without FRAMES,
    or a field whose type has a format of its own with frames in it."""
    parts: list
    name: str = None
    type: str = None

    def encode(self):
        return b''.join(part.encode() for part in self.parts)


@dataclasses.dataclass
class Frame:
    """A structure.  count and length: None for what is right.  number: what
    it has for a name in the stream if it is not needed."""
    name: str
    version: int = 1
    flags: int = 0
    parts: list = dataclasses.field(default_factory=list)
    subsections: list = dataclasses.field(default_factory=list)
    count: int = None
    length: int = None
    field: str = None       # the field that it stands for, where it is known
    number: str = None

    @property
    def is_array(self):
        return bool(self.flags & ARRAY)

    @property
    def wire_name(self):
        spare = self.flags & SPARE and self.number is not None
        return (self.number if spare else self.name).encode()

    @property
    def inner(self):
        """The frames right inside of this one, in order."""
        for parts in self.lists():
            yield from (part for part in parts if isinstance(part, Frame))

    def lists(self):
        """The lists of parts that this frame has without one between."""
        return [*_lists(self.parts), self.subsections]

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
        for parts in self.lists():
            for at, part in enumerate(parts):
                if part is child:
                    parts[at:at] = added
                    return
        raise KeyError(f'there is no {child.name} right inside {self.name}')

    def encode(self):
        body = b''.join(part.encode()
                        for part in (*self.parts, *self.subsections))
        count = len(self.parts if self.is_array else self.subsections)
        name = self.wire_name
        return HEADER.pack(
            len(body) if self.length is None else self.length, self.version,
            count if self.count is None else self.count, self.flags,
            len(name)) + name + body


def made_up(name, flags=0, version=1, data=b'what nobody knows'):
    """A frame that no reader knows."""
    return Frame(name, version, flags, [Leaf('data', 'buffer', data)])


def _lists(parts):
    yield parts
    for part in parts:
        if isinstance(part, Group):
            yield from _lists(part.parts)


def structure(field):
    """The description of what is inside of a field, or None.  It is a frame
    if it has a vmsd_name, and a Group otherwise."""
    return field if 'vmsd_name' in field else field.get('struct')


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
        self.need(not flags & ~(OPTIONAL | ARRAY | FRAMES | UNUSED | SPARE), at,
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
            header = self.header(at, stop)[0]
            spare = header.flags & SPARE and described
            name = next(iter(described)) if spare else header.name
            sub, at = self.frame(at, stop, [described.pop(name, None)],
                                 depth + 1)
            sub.name = name
            sub.number = header.name
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
                element = Group(parts)
            frame.parts.append(element)
        self.need(at == stop, at, f'{frame.name} ends at {stop}')

    def fields(self, at, stop, struct_, depth):
        """What stands for the fields of a structure, and where that ends."""
        parts = []
        fields = list(struct_.get('fields', ()))
        while fields:
            field = fields.pop(0)
            described = [structure(field)]
            # The elements of an array stand one behind the other.
            while (field.get('index') == 0 and fields
                   and fields[0].get('index')):
                described.append(structure(fields.pop(0)))
            if described[0] is None:
                size = field['size'] * field.get('array_len', 1)
                self.need(at + size <= stop, at,
                          f'no room for {field["name"]}')
                part = Leaf(field['name'], field['type'],
                            self.data[at:at + size], field.get('array_len'))
                at += size
            elif not any(one.get('vmsd_name') for one in described):
                inner, at = self.fields(at, stop, described[0], depth)
                part = Group(inner, field['name'], field['type'])
            else:
                part, at = self.frame(at, stop, described, depth + 1)
                part.field = field['name']
            parts.append(part)
        return parts, at


def parse(data, struct_):
    """The tree of a structure that takes all of the data.  struct_: its
    description."""
    frame, end = _Parser(data).frame(0, len(data), [struct_])
    if end != len(data):
        raise BadFrame(f'{len(data) - end} bytes behind {frame.name}')
    return frame
