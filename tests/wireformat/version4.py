# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a stream of version 4 into the model.

Every byte is accounted for: by the records, by the frames in them, and
between those by the description of the devices, or by RAM's own format.
"""

from interop import frames, wire
from interop.stream import Stream
from wireformat.common import CONFIGURATION, Reader
from wireformat.model import (Field, Item, Structure, collapse, group, item,
                              leaf, section)

BESIDE = {wire.CONFIGURATION: 'configuration',
          wire.VMDESCRIPTION: 'description', wire.INDEX: 'index'}


def read(data, says_description=True):
    """The Items of a stream, which has a description; says_description:
    whether the machine type sends one by itself."""
    stream = Stream(data)
    parts = ['version 4']
    items = []
    for record in stream.records:
        kind = record.type
        if kind in BESIDE and record.flags & wire.LAST:
            if kind != wire.VMDESCRIPTION or says_description:
                parts.append(BESIDE[kind])
        if kind == wire.CONFIGURATION:
            items.append(Item('configuration', '', _configuration(
                stream.tree(record))))
        elif kind == wire.COMMAND:
            items.append(Item(f'command {Reader(record.payload).take(">H")}',
                              ''))
        elif record.identifies:
            items += _section(stream, record)
    return [Item('stream', ', '.join(parts)), *items]


def _configuration(tree):
    structure = _structure(tree)
    return structure._replace(
        fields=CONFIGURATION[tree.name],
        subsections=tuple(sub._replace(fields=CONFIGURATION[sub.name])
                          for sub in structure.subsections))


def _section(stream, record):
    """The Items of one section."""
    instance, version, _ = wire.IDENT.unpack_from(record.payload)
    optional = bool(record.flags & wire.OPTIONAL)
    if record.type == wire.START:
        name = section(record.name, instance)
        yield Item(name, f'version {version}, in parts')
        shared = b'x-ignore-shared' in stream.of_type(
            wire.CONFIGURATION).payload
        yield from Reader(stream.state(record)).blocks(name, shared)
        return
    tree = stream.tree(record)
    structure = tree and _structure(tree)._replace(optional=optional)
    found = item(record.name, instance, version, len(stream.state(record)),
                 structure)
    if optional and not structure:
        found = found._replace(what=f'{found.what}, optional')
    yield found


def _structure(frame):
    return Structure(frame.name, frame.version, tuple(_fields(frame.parts)),
                     tuple(map(_structure, frame.subsections)),
                     bool(frame.flags & frames.OPTIONAL))


def _fields(parts):
    for part in parts:
        if isinstance(part, frames.Leaf):
            count = part.elements or 1
            name = f'{part.name}[{count}]' if part.elements else part.name
            yield leaf(name, part.type, len(part.data) // count)
        elif isinstance(part, frames.Group):
            yield from group(part.name, part.type, _fields(part.parts))
        elif part.is_array and not part.parts:
            yield Field(f'{part.field}[0]', part.name)
        elif part.is_array:
            yield from collapse(part.field, [_element(part, element)
                                             for element in part.parts])
        else:
            yield Field(part.field, '', _structure(part))


def _element(array, element):
    """(what, structure) of one element"""
    if isinstance(element, frames.Leaf):
        return element.name, None
    if isinstance(element, frames.Frame):
        return 'framed', _structure(element)
    return '', Structure(array.name, array.version,
                         tuple(_fields(element.parts)), ())
