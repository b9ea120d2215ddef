# SPDX-License-Identifier: GPL-2.0-or-later
"""Names the place in a version 3 migration stream at which an offset lies.

A version 3 stream doesn't say how long its sections are.  The description at
its end does, field by field; a section is found by its header, and what stands
in it by adding up the sizes.  Streams of machine types that send no
description are read with the one of the same machine, made to send it.
"""

import json
import re
import struct

HEADER = b'QEVM\0\0\0\3'
START, PART, END, FULL, SUBSECTION, DESCRIPTION = range(1, 7)
FOOTER = 0x7e

RAM_ZERO, RAM_SIZES, RAM_PAGE, RAM_EOS, RAM_CONTINUE = 2, 4, 8, 16, 32
RAM_COMPRESSED = 256
RAM_FLAGS = 0xfff
PAGE = 4096


class BadStream(Exception):
    """Not a version 3 stream, or one that this module can't follow."""


class Place:
    """A run of bytes in the stream, and what it is."""

    def __init__(self, start, size, name):
        self.start = start
        self.size = size
        self.end = start + size
        self.name = name

    def holds(self, offset):
        return self.start <= offset < self.end


def description(data):
    """The description at the end of a stream, or None if it has none."""
    at = data.rfind(b'{"page_size"')
    if at < 5 or data[at - 5] != DESCRIPTION:
        return None
    length = int.from_bytes(data[at - 4:at], 'big')
    return json.loads(data[at:]) if len(data) == at + length else None


def is_whole(data):
    """Whether a stream that ends in a description has come to its end."""
    return data[-2:] == b']}' and description(data) is not None


def has_subsection(data, name):
    """Whether a subsection of that name is in a stream; blobs count too."""
    return bytes([SUBSECTION, len(name)]) + name.encode() in data


def places(data, layout):
    """All Places of a stream, in order.  layout: its description."""
    found = None
    for _kind, section in ram(data):
        if found is None:
            yield Place(0, 8, 'the header')
            yield Place(8, section[0].start - 8, 'the configuration')
        found = section
        yield from found
    at = found[-1].end
    for device in layout['devices']:
        name = device['name'].encode()
        head = re.compile(b'\x04.{4}' + re.escape(
            bytes([len(name)]) + name
            + struct.pack('>I', device['instance_id'])), re.DOTALL)
        match = head.search(data, at)
        if not match:
            raise BadStream(f'there is no section {device["name"]} '
                            f'{device["instance_id"]} after {at:#x}')
        section = f'section {device["name"]} {device["instance_id"]}'
        # What stands before is what the last section had not told of.
        yield Place(at, match.start() - at, f'the end before {section}')
        yield Place(match.start(), match.end() + 4 - match.start(),
                    f'{section}, its header')
        at = yield from _state(device, match.end() + 4, section)
    yield Place(at, len(data) - at, 'the end of the stream or its description')


def unsliced(data):
    """The stream with all pages of RAM in one section.

    A section ends when its pages have taken 50 ms: where that is, is up to
    the clock.  Streams that differ in nothing else are equal after this.
    """
    (_start, first), *sections = ram(data)
    kept = [data[:first[-1].end]]
    frames = set()
    for _kind, (header, *_pages, end, footer) in sections:
        frames.add((data[header.start + 1:header.end],
                    data[end.start:footer.end]))
        kept.append(data[header.end:end.start])
    if len(frames) != 1:
        raise BadStream(f'{len(frames)} ways to frame sections of RAM')
    head, tail = frames.pop()
    return b''.join([kept[0], bytes([PART]), head, *kept[1:], tail,
                     data[footer.end:]])


def _ram_start(data):
    if data[:8] != HEADER:
        raise BadStream(f'it begins with {data[:8].hex()}')
    start = re.search(rb'\x01.{4}\x03ram', data, re.DOTALL)
    if not start:
        raise BadStream('there is no RAM section')
    return start.start()


def ram(data):
    """The sections of RAM before the devices: kind and Places, which are the
    header, pages, the end, and the footer (of no size if there is none)."""
    at = _ram_start(data)
    block = '?'
    # Which blocks are left out goes into the stream, and an address for each.
    sizes = 16 if b'x-ignore-shared' in data[:at] else 8
    while data[at] in (START, PART, END):
        kind = {START: 'start', PART: 'part', END: 'end'}[data[at]]
        section = f'section ram ({kind})'
        size = 5 + (4 + 8 if data[at] == START else 0)
        found = [Place(at, size, f'{section}, its header')]
        at += size
        while True:
            begin = at
            address, flags = _word(data, at)
            at += 8
            if flags & RAM_SIZES:
                left = address
                while left > 0:
                    _name, at = _string(data, at)
                    left -= int.from_bytes(data[at:at + 8], 'big')
                    at += sizes
                what = 'the sizes of the blocks'
            elif flags & (RAM_ZERO | RAM_PAGE | RAM_COMPRESSED):
                if not flags & RAM_CONTINUE:
                    block, at = _string(data, at)
                if flags & RAM_PAGE:
                    at += PAGE
                elif flags & RAM_ZERO:
                    at += 1
                else:
                    at += 4 + int.from_bytes(data[at:at + 4], 'big')
                what = f'block {block}, page {address:#x}'
            elif flags & RAM_EOS:
                found.append(Place(begin, 8, f'{section}, its end'))
                break
            else:
                raise BadStream(f'RAM flags {flags:#x} at {begin:#x}')
            found.append(Place(begin, at - begin, f'{section}, {what}'))
        size = 5 if data[at] == FOOTER else 0
        found.append(Place(at, size, f'{section}, its footer'))
        at += size
        yield kind, found


def _string(data, at):
    end = at + 1 + data[at]
    return data[at + 1:end].decode(), end


def _word(data, at):
    word = int.from_bytes(data[at:at + 8], 'big')
    return word & ~RAM_FLAGS, word & RAM_FLAGS


def _state(struct_, at, path):
    """The fields of a device or an embedded struct, then its subsections."""
    for field in struct_.get('fields', ()):
        count = field.get('array_len', 1)
        for number in range(count):
            index = field.get('index', number if count > 1 else None)
            name = f'{path}, {field["name"]}'
            if index is not None:
                name += f'[{index}]'
            end = at + field['size']
            if 'struct' in field:
                at = yield from _state(field['struct'], at, name)
            # A struct may write more than its description tells.
            if end > at:
                yield Place(at, end - at, f'{name} ({field["type"]})')
            at = end
    for sub in struct_.get('subsections', ()):
        if sub:
            name = f'{path}, subsection {sub["vmsd_name"]}'
            head = 1 + 1 + len(sub['vmsd_name']) + 4
            yield Place(at, head, f'{name}, its header')
            at = yield from _state(sub, at + head, name)
    return at


def first_difference(one, other):
    """The offset of the first byte that differs, or None."""
    if one == other:
        return None
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def name_of(data, layout, offset):
    """Says in words what lies at an offset, and how far into it that is."""
    try:
        for place in places(data, layout):
            if place.holds(offset):
                return f'{place.name}, byte {offset - place.start}'
    except (BadStream, IndexError) as error:
        return f'unknown: {error}'
    return 'behind its end'


def tell_difference(one, other, layout, names):
    """Says where two streams differ first, and what stands there.
    layout describes the first; names: what the two are called."""
    offset = first_difference(one, other)
    if offset is None:
        return None
    lines = [f'they differ at offset {offset} ({offset:#x}): '
             f'{name_of(one, layout, offset)}']
    begin = max(0, offset - 8)
    for name, data in zip(names, (one, other)):
        lines.append(f'{name}: {len(data)} bytes, there '
                     f'{data[begin:offset].hex(" ")} > '
                     f'{data[offset:offset + 16].hex(" ")}')
    return '\n'.join(lines)
