# SPDX-License-Identifier: GPL-2.0-or-later
"""A made-up source or destination, which says what a test wants it to say.

Not a test: no TAP in here.
"""

import contextlib
import copy
import json
import secrets
import socket
import threading

from harness.qemu import BUILT, Qemu, migrate
from harness.tap import check, equal
from interop import packet, talk, wire
from interop.link import RESET
from interop.live import record_stream
from interop.stream import Stream

CHUNK = 1 << 20
PATIENCE = 60       # for what must come
MEMORY = '16M'      # of machines that a made-up one has to do with


class Peer:
    """One end of a connection: says things, and hears what is said.

    offset   where the next record stands that it sends
    """

    def __init__(self, sock, token=None):
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.token = token
        self.offset = 0
        self.reader = talk.Reader(self._receive)

    def _receive(self):
        try:
            return self.sock.recv(CHUNK)
        except ConnectionError:
            return b''

    # -- speaking

    def raw(self, data):
        """Any bytes; they count like those of records."""
        self.sock.sendall(data)
        self.offset += len(data)

    def preamble(self):
        self.raw(talk.PREAMBLE)

    def say(self, *records):
        for record in records:
            self.raw(record.encode(self.offset))

    def hello(self, facts):
        self.say(*talk.hello(facts))

    def word(self, message, detail=0, text='', token=None):
        self.say(talk.word(message, self.token if token is None else token,
                           detail, text))

    def close(self, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 RESET)
        self.sock.close()

    # -- hearing

    def next(self):
        """The next talk.Unit, or None at the end.  Where the other side asks
        for a verdict on its pages, they are all right."""
        unit = self.reader.next()
        if unit and unit.record and unit.record.flags & wire.HEAD:
            found = packet.decode(unit.record.payload)
            if found.flags & packet.VERDICT:
                self.say(talk.all_right(found.round))
        return unit

    def until(self, name):
        """All that comes, up to the first unit of that name."""
        units = []
        while not units or units[-1].name != name:
            unit = self.next()
            check(unit, f'expected {name}, but after '
                  f'{[u.name for u in units][-5:]} came the end')
            units.append(unit)
        return units

    def hear_hello(self):
        """The other side's hello, as Python has it."""
        text = b''
        while True:
            unit = self.next()
            check(unit and unit.name == 'hello', f'no hello, but {unit}')
            text += unit.record.payload
            if unit.record.flags & wire.LAST:
                return json.loads(text)

    def hear_word(self):
        """The next word of the hand-over; answers to other things before it
        are left out."""
        unit = self.next()
        while unit and unit.name in ('answer', 'verdict'):
            unit = self.next()
        check(unit and unit.record, f'no word, but {unit}')
        return talk.Word.of(unit.record)

    def hear_end(self):
        """Waits until the other side has closed; the units until then."""
        units = []
        while unit := self.next():
            units.append(unit)
        return units

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(uri, token=None):
    """A made-up source, which has said nothing yet."""
    _, host, port = uri.split(':')
    return Peer(socket.create_connection((host, int(port)), PATIENCE),
                secrets.randbits(64) if token is None else token)


class Source:
    """What a made-up source has to send, and how it goes when all is well.

    machine  the records of its machine
    facts    what its hello says; to be changed at will
    stream   a stream.Stream, or something like it, without the machine
    """

    def __init__(self, machine, facts, stream):
        self.machine = machine
        self.facts = facts
        self.stream = stream

    def begin(self, peer):
        """All up to the hello."""
        peer.preamble()
        peer.say(*self.machine)

    def greet(self, peer):
        """Machine and hello; what the destination says."""
        self.begin(peer)
        peer.hello(self.facts | {'token': f'{peer.token:016x}'})
        return peer.hear_hello()

    def send(self, peer):
        peer.say(*self.stream.records)

    def checksum(self):
        """What a destination that has loaded all of it has to say."""
        return wire.crc32c(wire.content(self.stream.records, wire.INDEX))

    def hand_over(self, peer):
        """Everything, up to the guest running there."""
        self.greet(peer)
        self.send(peer)
        word = peer.hear_word()
        equal((word.message, word.detail, word.token),
              (talk.LOADED, self.checksum(), peer.token), str(word))
        peer.word(talk.RUN)
        word = peer.hear_word()
        equal((word.message, word.token), (talk.RUNNING, peer.token),
              str(word))


class Destination:
    """A made-up destination.

    behave   called with a Peer for each connection, one after the other
    """

    def __init__(self, behave):
        self.behave = behave
        self.error = None
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.uri = f'tcp:127.0.0.1:{self.listener.getsockname()[1]}'
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with Peer(sock) as peer:
                try:
                    self.behave(peer)
                except (AssertionError, OSError) as error:
                    self.error = self.error or error

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)
        if kind is None and self.error:
            raise self.error


class MadeUp:
    """A made-up source of a machine type, of which a fresh copy can be had."""

    def __init__(self, machine, directory):
        self.machine = machine
        self.stream = Stream(record_stream(machine, directory, memory=MEMORY))
        self.records = self.stream.take_machine()
        # What a source says is what one has said.
        heard = []
        with Destination(lambda p: heard.append(accept(p))) as dst, \
             Qemu(BUILT, '-S', '-m', MEMORY, machine=machine) as src:
            migrate(src, dst.uri)
        self.facts = heard[0]

    def source(self, change=None):
        facts = copy.deepcopy(self.facts)
        if change:
            change(facts)
        return Source(list(self.records), facts, self.stream.copy())


def mirrored(hello):
    """What a destination says that has all that the source has."""
    return {key: value for key, value in hello.items() if key != 'token'}


def greet(peer, change=None):
    """What a made-up destination says at first: hears the source, answers
    that it has the same, but for what change() does to that."""
    peer.until('machine end')
    heard = peer.hear_hello()
    peer.token = int(heard['token'], 16)
    facts = mirrored(heard)
    peer.hello((change and change(facts)) or facts)
    return heard


def take(peer):
    """Hears everything; the checksum of what came."""
    units = peer.until('end')
    records = [unit.record for unit in units if unit.record]
    return wire.crc32c(wire.content(records, wire.INDEX))


def accept(peer, change=None):
    """A destination that does everything right; what the source's hello says.
    """
    heard = greet(peer, change)
    peer.word(talk.LOADED, take(peer))
    word = peer.hear_word()
    equal((word.message, word.token), (talk.RUN, peer.token), str(word))
    peer.word(talk.RUNNING)
    peer.hear_end()
    return heard
