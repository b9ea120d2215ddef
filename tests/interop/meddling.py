# SPDX-License-Identifier: GPL-2.0-or-later
"""A link that takes the source's channels apart, record by record, and does
something to them: the main stream and the channels of multifd; and to what the
destination answers.

Not a test: no TAP in here.
"""

import contextlib
import dataclasses
import struct
import threading

from interop import packet, talk, wire
from interop.link import CHUNK, Link

# The packet that says which channel of multifd it is.
INIT = struct.Struct('>II16sB39x')
INIT_MAGIC = 0x11223344
MAIN = 'main'


@dataclasses.dataclass
class Unit:
    """What goes by: the preamble, a channel's first packet, or a record.

    channel   MAIN, or a channel's number
    kind      'preamble', 'init' or 'record'
    data      all of it
    """
    channel: object
    kind: str
    data: bytes

    @property
    def type(self):
        return self.fields()[0]

    def fields(self):
        return wire.HEADER.unpack_from(self.data)

    @property
    def payload(self):
        return self.data[wire.HEADER.size:]

    @property
    def has_head(self):
        return self.kind == 'record' and bool(self.fields()[1] & wire.HEAD)

    @property
    def packet(self):
        """The packet of pages that it is, or None."""
        return packet.decode(self.payload) if self.has_head else None

    @property
    def data_at(self):
        """Where a packet's pages begin."""
        return wire.HEADER.size + int.from_bytes(self.payload[:4], 'big')

    @property
    def has_pages(self):
        return self.has_head and self.data_at < len(self.data)

    @property
    def ends_round(self):
        return self.has_head and self.packet.kind == packet.ROUND

    def encode(self, changed):
        """Its record's bytes with another packet in it, checksums and all."""
        kind, flags, section, _, _, offset, _ = self.fields()
        return wire.Record(kind, flags, section,
                           changed.encode()).encode(offset)


def exactly(stream, size):
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def units(stream):
    """All that comes, and at the end what is left of something."""
    first = exactly(stream, wire.PREAMBLE.size)
    if first[:4] == INIT_MAGIC.to_bytes(4, 'big'):
        first += exactly(stream, INIT.size - len(first))
        channel = INIT.unpack(first)[3]
        yield Unit(channel, 'init', first)
    else:
        channel = MAIN
        yield Unit(channel, 'preamble', first)
    while True:
        header = exactly(stream, wire.HEADER.size)
        length = wire.HEADER.unpack(header)[3]
        yield Unit(channel, 'record', header + exactly(stream, length))


class Meddler(Link):
    """Passes units on as act(unit) says: bytes, or None to end the channel.

    answer   likewise, of talk.Units that the destination sends: records, which
             get the offsets that they then have, bytes, or None
    """

    def __init__(self, uri, act, pieces=None, answer=None):
        self.act = act
        self.pieces = pieces        # of how many bytes, or as a whole
        self.answer = answer or (lambda unit: unit.data)
        self.turn = threading.Lock()
        super().__init__(uri)

    def _join(self, source, destination, _count):
        self._start(self._meddle, source, destination)
        self._start(self._back, destination, source)

    def _meddle(self, origin, target):
        try:
            with origin.makefile('rb') as stream, \
                 contextlib.suppress(EOFError):
                for unit in units(stream):
                    with self.turn:
                        passed = self.act(unit)
                    if passed is None:
                        self.sever(only=(origin, target))
                        return
                    self._pass(target, passed)
            self._ended(origin, target)
        except (OSError, ValueError):
            self.sever(only=(origin, target))

    def _pass(self, target, data):
        size = self.pieces or len(data) or 1
        for at in range(0, len(data), size):
            target.sendall(data[at:at + size])

    def _back(self, origin, target):
        reader = talk.Reader(lambda: origin.recv(CHUNK))
        sent = 0
        try:
            while unit := reader.next():
                passed = self.answer(unit)
                if passed is None:
                    self.sever(only=(origin, target))
                    return
                for one in [passed] if isinstance(passed, bytes) else passed:
                    if not isinstance(one, bytes):
                        one = one.encode(sent)
                    target.sendall(one)
                    sent += len(one)
            self._ended(origin, target)
        except OSError:
            self.sever(only=(origin, target))
