# SPDX-License-Identifier: GPL-2.0-or-later
"""What the two sides of a version 4 migration say to each other, as it stands
on the wire: docs/devel/migration-v4/conversation.rst.

Not a test: no TAP in here.
"""

import dataclasses
import json
import struct

from interop import wire

WORD = struct.Struct('>IIQ')        # message, detail, token
LOADED, RUN, RUNNING, REFUSED = 1, 2, 3, 4
WORDS = {LOADED: 'LOADED', RUN: 'RUN', RUNNING: 'RUNNING', REFUSED: 'REFUSED'}
HELLO, CONFIGURATION, STATE, COMPLETION, ACTIVATION, MACHINE = range(1, 7)
PHASES = ['none', 'hello', 'configuration', 'state', 'completion',
          'activation', 'machine']
TEXT_MAX = 4096

NAMES = {wire.END: 'end', wire.START: 'start', wire.PART: 'part',
         wire.SECTION_END: 'finish', wire.FULL: 'device',
         wire.VMDESCRIPTION: 'description',
         wire.CONFIGURATION: 'configuration', wire.COMMAND: 'command',
         wire.RETURN_PATH: 'answer', wire.INDEX: 'index',
         wire.PAGES: 'pages', wire.COLO: 'colo', wire.HELLO: 'hello',
         wire.MACHINE: 'machine', wire.MACHINE_END: 'machine end',
         wire.PACKET: 'packet', wire.VERDICT: 'verdict'}

PREAMBLE = wire.PREAMBLE.pack(wire.MAGIC, wire.VERSION)
ANSWERS = [struct.pack('>H', kind) for kind in
           (wire.RETURN_PATH, wire.HELLO, wire.HANDOVER, wire.VERDICT)]
# Longest payload of a record that has a head
PACKET_MAX = (64 << 10) + (1 << 20)
VERDICT = struct.Struct('>II')      # round, how many ranges


@dataclasses.dataclass
class Unit:
    """The preamble, a record, or some bytes of something else.

    name     'preamble', what a record is called, or 'bytes'; a word of the
             hand-over has a name of its own
    data     all of it
    record   None if it is none
    """
    name: str
    data: bytes
    record: wire.Record = None


class Reader:
    """Takes what one side sends apart, as it comes.

    receive   gives some more bytes, b'' at the end
    """

    def __init__(self, receive):
        self.receive = receive
        self.waiting = b''
        self.in_stream = False      # of version 4

    def _have(self, size):
        while len(self.waiting) < size:
            data = self.receive()
            if not data:
                return False
            self.waiting += data
        return True

    def _take(self, name, size, record=None):
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        return Unit(name, data, record)

    def next(self):
        """The next Unit, or None at the end."""
        if not self._have(1):
            return None
        if (PREAMBLE.startswith(self.waiting[:8]) and self._have(8) and
                self.waiting.startswith(PREAMBLE)):
            self.in_stream = True
            return self._take('preamble', 8)
        # The return path has no preamble, and nothing else begins like it.
        self.in_stream = self.in_stream or self.waiting[:2] in ANSWERS
        if not self.in_stream or not self._have(wire.HEADER.size):
            return self._take('bytes', len(self.waiting))
        kind, flags, section, length, _, place, _ = wire.HEADER.unpack_from(
            self.waiting)
        size = wire.HEADER.size + length
        longest = PACKET_MAX if flags & wire.HEAD else wire.PAYLOAD_MAX
        if length > longest or not self._have(size):
            return self._take('bytes', len(self.waiting))
        record = wire.Record(kind, flags, section,
                             self.waiting[wire.HEADER.size:size], place)
        return self._take(name_of(record), size, record)


def name_of(record):
    if record.type == wire.HANDOVER and len(record.payload) >= WORD.size:
        message = WORD.unpack_from(record.payload)[0]
        return WORDS.get(message, f'word {message}')
    return NAMES.get(record.type, f'type {record.type:#x}')


def word(message, token, detail=0, text=''):
    """A record of the hand-over."""
    payload = WORD.pack(message, detail, token) + text.encode()
    return wire.Record(wire.HANDOVER, wire.LAST, 0, payload)


def all_right(round_number):
    """A verdict with nothing to complain of."""
    return wire.Record(wire.VERDICT, wire.LAST, 0,
                       VERDICT.pack(round_number, 0))


def hello(facts):
    """The records of a hello: facts as Python has them, or any bytes."""
    if not isinstance(facts, bytes):
        facts = json.dumps(facts).encode()
    return wire.chain(wire.HELLO, facts)


@dataclasses.dataclass
class Word:
    message: int
    detail: int
    token: int
    text: str

    @classmethod
    def of(cls, record):
        assert record.type == wire.HANDOVER, record.described()
        message, detail, token = WORD.unpack_from(record.payload)
        return cls(message, detail, token,
                   record.payload[WORD.size:].decode())

    def __str__(self):
        return (f'{WORDS.get(self.message, self.message)} '
                f'(detail {self.detail:#x}, token {self.token:016x}): '
                f'{self.text}')
