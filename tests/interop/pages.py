# SPDX-License-Identifier: GPL-2.0-or-later
"""A link that damages pages on their way, in the main stream and on multifd's
channels, and knows which ones.

Not a test: no TAP in here.
"""

import struct

from interop import wire
from interop.link import CHUNK, Link

PAGE = 4096
HEAD = struct.Struct('>IBBHIIB')        # up to the length of the block's name
ENTRY = struct.Struct('>QII')
PAGES = 0
# In front of the records: the preamble, or what says a channel's number.
FIRST_MAIN, FIRST_CHANNEL = 8, 64


def entries(head):
    """The block, the compression and the (offset, zeros) of a packet's head;
    nothing of one that is not about pages."""
    _, kind, compression, _, _, count, length = HEAD.unpack_from(head)
    if kind != PAGES:
        return None, 0, []
    block = head[HEAD.size:HEAD.size + length].decode()
    return block, compression, [
        ENTRY.unpack_from(head, HEAD.size + length + n * ENTRY.size)[:2]
        for n in range(count)]


class Pages(Link):
    """Forwards connections, and flips a bit of the pages that damages(number
    of the connection, block, offset) says; of a packet that is compressed, a
    bit of it all.

    hurt   (connection, block, offset) of what was damaged, as often as it was
    """

    def __init__(self, uri, damages):
        self.damages = damages
        self.hurt = []
        super().__init__(uri)

    def _join(self, source, destination, count):
        self._start(self._records, source, destination, count)
        self._start(self._forward, destination, source, None, True)

    def _records(self, source, destination, count):
        waiting = bytearray()

        def have(size):
            while len(waiting) < size:
                data = source.recv(CHUNK)
                if not data:
                    return False
                waiting.extend(data)
            return True

        def take(size):
            data = bytes(waiting[:size])
            del waiting[:size]
            return data

        try:
            size = FIRST_CHANNEL if count else FIRST_MAIN
            while have(size):
                destination.sendall(take(size))
                if not have(wire.HEADER.size):
                    break
                _, flags, _, length, *_ = wire.HEADER.unpack_from(waiting)
                size = wire.HEADER.size + length
                if flags & wire.HEAD and have(size):
                    self._damage(waiting, count)
            destination.sendall(waiting)
            self._ended(source, destination)
        except OSError:
            self.cut()

    def _damage(self, record, count):
        """Damages some of the pages of the record that begins here."""
        at = wire.HEADER.size
        length = struct.unpack_from('>I', record, at)[0]
        block, compression, pages = entries(bytes(record[at:at + length]))
        at += length
        for offset in (offset for offset, zeros in pages if not zeros):
            if self.damages(count, block, offset):
                self.hurt.append((count, block, offset))
                record[at + 77] ^= 0x04
                if compression:
                    break
            at += 0 if compression else PAGE
