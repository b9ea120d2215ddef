# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a stream of version 3 into the model.

Every byte is accounted for: by the frame of the stream, by RAM's own format,
or by the description of the devices.
"""

import itertools

from witness import stream3
from wireformat.common import Reader
from wireformat.model import (Field, Item, Structure, collapse, count, group,
                              item, leaf, section)

CONFIGURATION = 7
# A subsection's mark, the length of its name, its version.
SUBSECTION_SIZE = 1 + 1 + 4


def structure(described):
    """A structure after its description in the stream."""
    fields = []
    for _, alike in itertools.groupby(described.get('fields', ()),
                                      _array_of()):
        fields += _field(list(alike))
    return Structure(described['vmsd_name'], described['version'],
                     tuple(fields),
                     tuple(structure(sub)
                           for sub in described.get('subsections', ()) if sub))


def _array_of():
    """Tells fields apart, but for the elements of one array."""
    number = 0

    def key(field):
        nonlocal number
        number += not field.get('index', 0)
        return number
    return key


def _field(alike):
    """What stands for one field, or for all elements of an array."""
    first = alike[0]
    name = first['name']
    if 'index' in first:
        yield from collapse(name, [_one(f) for f in alike])
        return
    if 'array_len' in first:
        name += f'[{first["array_len"]}]'
    if 'fields' in first and first['type'] != 'vstruct':
        # A type with a format of its own, and a structure in that.
        yield from group(name, first['type'], [
            Field(first['vmsd_name'], '', structure(first))])
        return
    yield Field(name, *_one(first))


def _one(field):
    """(what, structure) of one element"""
    inner = field if 'fields' in field else field.get('struct')
    if inner is None:
        return leaf('', field['type'], field['size']).what, None
    extra = field['size'] - size(inner)
    what = f'and {count(extra, "byte")} more' if extra else ''
    return what, structure(inner)


def size(described):
    """How long a structure is, with its subsections."""
    total = 0
    for field in described.get('fields', ()):
        total += field['size'] * field.get('array_len', 1)
    for sub in described.get('subsections', ()):
        if sub:
            total += SUBSECTION_SIZE + len(sub['vmsd_name']) + size(sub)
    return total


def read(data, says_description=True):
    """The Items of a stream, which has a description; says_description:
    whether the machine type sends one by itself."""
    layout = stream3.description(data)
    reader = _Reader(data)
    parts = ['version 3']
    items = []
    reader.at = len(stream3.HEADER)
    if reader.next_is(CONFIGURATION):
        parts.append('configuration')
        items.append(Item('configuration', '', reader.configurations()))
    items += reader.ram()
    if reader.footers:
        parts.append('section footers')
    for device in layout['devices']:
        items.append(reader.device(device))
    reader.expect(reader.take('>B') == 0, 'no end of the sections')
    reader.expect(reader.take('>B') == stream3.DESCRIPTION, 'no description')
    reader.string('>I')
    if says_description:
        parts.append('description')
    reader.expect(reader.at == len(data), 'more than the stream')
    return [Item('stream', ', '.join(parts)), *items]


class _Reader(Reader):
    footers = False
    has_addresses = False

    def configurations(self):
        self.take('>B')
        fields = self.configuration('configuration')
        subsections = []
        while self.next_is(stream3.SUBSECTION):
            self.take('>B')
            name = self.string()
            version = self.take('>I')
            # Those of shared memory go into the stream, if it is left out.
            begin = self.at
            subsections.append(Structure(
                name, version, self.configuration(name), ()))
            self.has_addresses |= (b'x-ignore-shared' in
                                   self.data[begin:self.at])
        return Structure('configuration', 1, fields, tuple(subsections))

    def ram(self):
        """The sections of RAM: their Item, and those of the blocks."""
        for kind, (header, *_pages, end, footer) in stream3.ram(self.data):
            self.expect(header.start == self.at, 'not the header of RAM')
            if kind == 'start':
                self.take('>BI')
                name, instance, version = self.string(), *self.take('>II')
                name = section(name, instance)
                blocks = self.blocks(name, self.has_addresses)
                self.footers = footer.size > 0
            self.at = footer.end
        return [Item(name, f'version {version}, in parts'), *blocks]

    def device(self, described):
        """The Item of one section."""
        self.expect(self.next_is(stream3.FULL), f'no {described["name"]}')
        _, section_id = self.take('>BI')
        name, instance, version = self.string(), *self.take('>II')
        self.expect((name, instance) ==
                    (described['name'], described['instance_id']),
                    f'{name} {instance}, not {described["name"]}')
        length = size(described)
        self.at += length
        if self.footers:
            self.expect(self.take('>BI') == (stream3.FOOTER, section_id),
                        f'no footer of {name}')
        return item(name, instance, version, length,
                    structure(described) if 'vmsd_name' in described else None)
