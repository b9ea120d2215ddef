# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a channel of pages (multifd) of a version 3 migration."""

import struct

INIT_SIZE = 64
PACKET = struct.Struct('>IIIIIIQ32s256s')
PAGE = 4096


class BadChannel(Exception):
    """Not what a channel of pages has."""


def pages(data):
    """All that the channel says, in order: the first packet, then each page
    with the constants of its packet's header, its block and its offset.

    Left out is what depends on when the sending thread woke up: which packet
    carries the mark that asks for an answer, the packets' numbers, and what
    a packet's last use has left in it.
    """
    yield data[:INIT_SIZE]
    at = INIT_SIZE
    while at < len(data):
        (magic, version, flags, room, count, size, _number, unused,
         block) = PACKET.unpack_from(data, at)
        # A packet without pages has the last one's size in it.
        if count and size != count * PAGE:
            raise BadChannel(f'packet at {at}: {count} pages, {size} bytes')
        at += PACKET.size
        offsets = struct.unpack_from(f'>{count}Q', data, at)
        at += 8 * room
        for offset in offsets:
            yield (magic, version, flags & ~1, room, unused,
                   block.rstrip(b'\0').decode(), offset, data[at:at + PAGE])
            at += PAGE
