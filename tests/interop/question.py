#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The question which version the other side speaks, asked and answered by
sides that are made up: what is said, to the byte, and what must not be said.
"""

import contextlib
import os
import socket
import struct
import threading

from harness.qemu import (BUILT, STOCK, Qemu, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop import wire
from interop.live import record_stream
from interop.retrying import hastily
from witness import byte_identity, stream3

V3, V4 = 'pc-q35-7.2', 'pc-q35-7.2-v4'
QUESTION = 0x51344856
ANSWER = QUESTION ^ 0xffffffff
OPEN_RETURN_PATH = bytes([8, 0, 1, 0, 0])
SHUT = struct.pack('>HHI', 1, 4, 0)
# Longer than any answer takes, on whatever machine
PATIENT = 120000


def ping(value):
    return bytes([8, 0, 2, 0, 4]) + value.to_bytes(4, 'big')


def pong(value):
    return struct.pack('>HHI', 2, 4, value)


ASKED = OPEN_RETURN_PATH + ping(QUESTION)


def read_until(sock, enough, data=b''):
    """What comes, up to where there is enough of it or no more."""
    while not enough(data):
        piece = sock.recv(1 << 16)
        if not piece:
            break
        data += piece
    return data


# -- the bytes

class Listener:
    """A destination that takes all; when it is asked, it replies."""

    def __init__(self, asked, reply):
        self.asked = asked
        self.reply = reply
        self.data = b''
        self.sock = socket.create_server(('127.0.0.1', 0))
        self.uri = f'tcp:127.0.0.1:{self.sock.getsockname()[1]}'
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self):
        with contextlib.suppress(OSError), self.sock.accept()[0] as link:
            data = read_until(link, lambda data: self.asked in data)
            link.sendall(self.reply)
            self.data = read_until(link, stream3.is_whole, data)
            link.sendall(SHUT)
            read_until(link, lambda _data: False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
        self.thread.join(10)


def sent(binary, machine, version, caps, number):
    with byte_identity.machine(binary, machine, 'bare') as vm, \
         Listener(ping(number), pong(number)) as listener:
        vm.set_caps(**caps)
        if version:
            vm.set_params(**{'stream-version': version})
        start_migration(vm, listener.uri)
        wait_migration(vm)
        return listener.data


def same_bytes(machine, **caps):
    """Once, what the distribution's QEMU says with its return path open, but
    for the number; and without, what it says then and nothing more."""
    theirs = sent(STOCK, V3, None, {**caps, 'return-path': True}, 1)
    mine = sent(BUILT, machine, 'auto', caps, QUESTION)
    equal(mine.count(OPEN_RETURN_PATH + ping(QUESTION)), 1, 'questions')
    equal(theirs.count(OPEN_RETURN_PATH + ping(1)), 1, 'pings')
    again = mine.replace(ASKED, OPEN_RETURN_PATH + ping(1))
    check(byte_identity.same(theirs, again), stream3.tell_difference(
        theirs, again, stream3.description(theirs), byte_identity.NAMES))


def no_question(machine):
    """Nothing at all is added where nobody is asked."""
    with tempdir() as work:
        theirs = byte_identity.sent(work, STOCK, V3, 'bare')
        mine = byte_identity.sent(work, BUILT, machine, 'bare', '-global',
                                  'migration.stream-version=auto')
    check(byte_identity.same(theirs, mine), stream3.tell_difference(
        theirs, mine, stream3.description(theirs), byte_identity.NAMES))


def not_asked(**caps):
    """What has no conversation in version 4 is of version 3."""
    with Qemu(BUILT, '-m', '16M', machine=V4) as vm, \
         socket.create_server(('127.0.0.1', 0)) as listener:
        listener.settimeout(60)
        vm.set_caps(**caps)
        vm.set_params(**{'stream-version': 'auto'})
        vm.qmp('migrate',
               uri=f'tcp:127.0.0.1:{listener.getsockname()[1]}')
        with listener.accept()[0] as link:
            data = read_until(link, lambda data: b'\x03ram' in data)
    equal(data[:8], stream3.HEADER, 'header')
    check(b'\x03ram' in data and ping(QUESTION) not in data,
          f'what was sent: {data[:200]}')


# -- a source, and a destination that is made up

def asking(converse, timeout, *words, cancel=False):
    """The source fails with these words, and keeps its guest."""
    with Qemu(BUILT, '-m', '16M', '-S', machine=V4) as vm, \
         socket.create_server(('127.0.0.1', 0)) as listener:
        listener.settimeout(60)
        vm.set_params(**{'stream-version': 'auto', 'peer-timeout': timeout})
        vm.qmp('migrate',
               uri=f'tcp:127.0.0.1:{listener.getsockname()[1]}')
        with listener.accept()[0] as link:
            link.settimeout(60)
            data = read_until(link, lambda data: ping(QUESTION) in data)
            check(data.endswith(ASKED), f'the question is the end: {data}')
            converse(link)
            if cancel:
                vm.qmp('migrate_cancel')
            info = wait_migration(vm, 'cancelled' if cancel else 'failed')
            # Too late for everybody
            with contextlib.suppress(OSError):
                link.sendall(pong(ANSWER))
        for word in words:
            check(word in info['error-desc'],
                  f'{word!r} is missing in: {info["error-desc"]}')
        equal(vm.status(), 'prelaunch', 'status')
        check('stream' not in info and 'peer' not in info, f'{info}')
        with tempdir() as directory:
            start_migration(vm, f'exec:cat > {directory}/stream')
            wait_migration(vm)


def says(*pieces):
    return lambda link: link.sendall(b''.join(pieces))


def says_nothing(_link):
    pass


def hangs_up(link):
    link.shutdown(socket.SHUT_RDWR)


def waits_for(link, what):
    """Reads what comes until that is in it."""
    data = read_until(link, lambda data: what in data)
    check(what in data, f'{what} is missing in: {data}')


def answers_twice(link):
    """The second one stands where records are expected."""
    link.sendall(pong(ANSWER))
    waits_for(link, wire.PREAMBLE.pack(wire.MAGIC, 4))
    link.sendall(pong(ANSWER) * 4)


def answers_and_hangs_up(link):
    link.sendall(pong(ANSWER))
    waits_for(link, wire.PREAMBLE.pack(wire.MAGIC, 4))
    hangs_up(link)


def many_pongs():
    """In version 3 nobody looks at pongs, as ever."""
    with Qemu(BUILT, '-m', '16M', '-S', machine=V4) as vm, \
         Listener(ping(QUESTION), b''.join(map(pong, (
             QUESTION, QUESTION, ANSWER, 7)))) as listener:
        vm.set_params(**{'stream-version': 'auto'})
        start_migration(vm, listener.uri)
        check('stream' not in wait_migration(vm), 'it is not of version 3')


# -- a destination, and a source that is made up

def stream_of(version):
    with tempdir() as directory:
        return record_stream(V4, directory, '-global',
                             f'migration.stream-version={version}')


def beginning(data):
    """Of a version 3 stream: header and configuration."""
    return data[:next(stream3.ram(data))[1][0].start]


@contextlib.contextmanager
def asked(version, timeout=PATIENT):
    """A destination, and a connection to it."""
    with Qemu(BUILT, '-S', '-m', '16M', machine=V4, incoming='defer') as dst:
        dst.set_params(**{'stream-version': version, 'peer-timeout': timeout})
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        _, host, port = dst.listens_at().split(':')
        with socket.create_connection((host, int(port))) as link:
            link.settimeout(60)
            yield dst, link


def hears(link, *values):
    wanted = b''.join(map(pong, values))
    equal(read_until(link, lambda data: len(data) >= len(wanted)), wanted,
          'what the destination says')


def refused(dst, *words):
    """With these words; and then another source can come."""
    why = wait_migration(dst, 'failed')['error-desc']
    for word in words:
        check(word in why, f'{word!r} is missing in: {why}')
        check(word in dst.stderr(), f'{word!r} is missing in: {dst.stderr()}')
    dst.set_params(peer_timeout=PATIENT)
    with tempdir() as directory:
        path = directory / 'stream'
        path.write_bytes(STREAM4)
        dst.qmp('migrate-incoming', uri=f'exec:cat {path}')
        wait_migration(dst)


def answers(version):
    """And what has to follow then."""
    with asked(version) as (dst, link):
        link.sendall(beginning(STREAM3) + ASKED)
        hears(link, ANSWER)
        link.sendall(STREAM4)
        refused(dst, 'says no hello')


def answers_as_ever():
    """With stream-version=3, like any QEMU."""
    with asked(3) as (dst, link):
        at = len(beginning(STREAM3))
        link.sendall(STREAM3[:at] + ASKED)
        hears(link, QUESTION)
        link.sendall(STREAM3[at:])
        wait_migration(dst)


def asked_late(where, version, *words):
    """Where another ping is, it is another ping."""
    at = len(beginning(STREAM3)) if where == 'another ping' else \
        next(place.end for place in
             stream3.places(STREAM3, stream3.description(STREAM3))
             if place.name.startswith('section') and 'footer' in place.name)
    with asked(version) as (dst, link):
        with contextlib.suppress(OSError):
            link.sendall(STREAM3[:at] + OPEN_RETURN_PATH + ping(1)
                         + ping(QUESTION))
        if words:
            refused(dst, *words)
            return
        hears(link, 1, QUESTION)
        link.sendall(STREAM3[at:])
        check('stream' not in wait_migration(dst), 'it is not of version 3')


def asked_in_pieces():
    with asked('auto') as (dst, link):
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in beginning(STREAM3) + ASKED:
            link.sendall(bytes([byte]))
        hears(link, ANSWER)


def goes_wrong(version, sent_at_once, then, *words, timeout=PATIENT):
    """then: what is sent behind the answer; None: there is no answer."""
    with asked(version, timeout) as (dst, link):
        with contextlib.suppress(OSError):
            link.sendall(sent_at_once)
            if then is not None:
                hears(link, ANSWER)
                link.sendall(then)
        refused(dst, *words)


def too_long(version, sent_at_once, then, *words):
    """The same, when what is expected does not come at all."""
    hastily(lambda timeout: goes_wrong(
        version, sent_at_once, then,
        *(word.format(timeout=timeout) for word in words), timeout=timeout))


os.environ.update(byte_identity.FILL_HEAP)
STREAM3, STREAM4 = stream_of(3), stream_of(4)
BEGIN = beginning(STREAM3)
NO_MACHINE = 'after {timeout} ms', 'expected the source\'s machine'
MISMATCH = 'the stream is of version 3', 'expects version 4'

with Tap('the question which version the other side speaks') as t:
    for name in V3, V4:
        t.case(f'{name}: the bytes are the distribution\'s, but for it',
               same_bytes, name)
        t.case(f'{name}: likewise with postcopy advised', lambda name=name:
               same_bytes(name, **{'postcopy-ram': True}))
        t.case(f'{name}: one way, there is no question', no_question, name)
    t.case('not for COLO', lambda: not_asked(**{'x-colo': True}))
    t.case('not for a background snapshot',
           lambda: not_asked(**{'background-snapshot': True}))

    t.case('another answer', asking, says(pong(7)), PATIENT,
           'answers something else', f'expected 0x{QUESTION:x} or '
           f'0x{ANSWER:x}, got 0x00000007')
    t.case('no message at all', asking, says(b'\xff' * 8), PATIENT,
           'answers no more', 'which version')
    t.case('no answer, but that it is over', asking, says(SHUT), PATIENT,
           'answers no more', 'which version')
    t.case('no answer, and the end', asking, hangs_up, PATIENT,
           'answers no more', 'which version')
    t.case('no answer at all', hastily, lambda timeout: asking(
        says_nothing, timeout, f'after {timeout} ms there is no answer',
        'which version'))
    t.case('cancelled while nobody answers', lambda: asking(
        says_nothing, PATIENT, cancel=True))
    t.case('more than an answer', asking, says(pong(ANSWER), pong(ANSWER)),
           PATIENT, 'something behind its answer', 'got 8 bytes')
    t.case('an answer twice', asking, answers_twice, PATIENT, 'hello',
           'checksum')
    t.case('an answer, and the end', asking, answers_and_hangs_up, PATIENT,
           'hello')
    t.case('the same number, twice', many_pongs)

    for version in 4, 'auto':
        t.case(f'{version}: it is answered', answers, version)
        t.case(f'{version}: more than a question', goes_wrong, version,
               BEGIN + ASKED + STREAM4[:8], None,
               'something behind its question', 'got 8 bytes')
        t.case(f'{version}: version 3 behind the answer', goes_wrong, version,
               BEGIN + ASKED, STREAM3, *MISMATCH)
        t.case(f'{version}: no stream behind the answer', goes_wrong, version,
               BEGIN + ASKED, bytes(8), 'no migration stream')
        t.case(f'{version}: nothing behind the answer', too_long, version,
               BEGIN + ASKED, b'', *NO_MACHINE)
        t.case(f'{version}: no stream', goes_wrong, version, b'x' * 64, None,
               'no migration stream')
        t.case(f'{version}: a version that does not exist', goes_wrong,
               version, b'QEVM\0\0\0\5', None, 'of version 5')
    t.case('4: version 3 without a question', goes_wrong, 4, STREAM3, None,
           *MISMATCH)
    t.case('4: another ping', asked_late, 'another ping', 4, *MISMATCH)
    t.case('4: version 3, and nothing', too_long, 4, BEGIN, None,
           *NO_MACHINE)
    t.case('4: version 3, with half a configuration', too_long, 4, BEGIN[:12],
           None, 'onfiguration')
    t.case('4: nothing at all', too_long, 4, b'', None, *NO_MACHINE)
    t.case('auto: behind another ping', asked_late, 'another ping', 'auto')
    t.case('auto: behind a section', asked_late, 'a section', 'auto')
    t.case('auto: byte by byte', asked_in_pieces)
    t.case('3: it is answered as ever', answers_as_ever)
