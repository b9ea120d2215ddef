#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers that are late, silent, talk rubbish, lie, or go in the middle of a
word.  A source fails in bounded time with a message that says what it waited
for, and its guest runs on; a destination refuses, and takes the next one.
"""

import contextlib
import os
import secrets
import struct
import threading

from harness.qemu import (BUILT, Qemu, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop import peer, talk, tls, wire
from interop.loading import obscure
from interop.retrying import HASTE, hastily

Q35 = 'pc-q35-7.2-v4'
# For those who say nothing, and for all others.
SHORT, LONG = None, 120_000
ASKING = 1000       # how long a source asks again
SILENCE = ['after', 'expected']
UNKNOWN = 0x7f03
OPTIONAL = wire.Record(UNKNOWN, wire.LAST | wire.OPTIONAL, 0, b'?')
OTHER = 0x4711      # no token that anybody has


def head(kind, length, flags=wire.LAST, offset=0):
    """The header of a record whose payload does not come."""
    data = wire.HEADER.pack(kind, flags, 0, length, 0, offset, 0)[:-4]
    return data + struct.pack('>I', wire.crc32c(data))


def nested(depth):
    return b'{"qemu": ' + b'[' * depth + b']' * depth + b'}'


# -- destinations.  What they do, and what the source has to say

def says(data):
    """Some bytes instead of a hello."""
    def behave(p):
        p.raw(data)
        p.hear_end()
    return behave


def says_hello(facts):
    """Any bytes as a hello."""
    def behave(p):
        p.until('machine end')
        p.hear_hello()
        p.hello(facts)
        p.hear_end()
    return behave


def after_hello(*say):
    """A hello as it should be, and then some records."""
    def behave(p):
        peer.greet(p)
        p.until('configuration')
        for one in say:
            p.say(one(p) if callable(one) else one)
        p.hear_end()
    return behave


def after_end(*say):
    """The same, when everything has come."""
    def behave(p):
        peer.greet(p)
        peer.take(p)
        for one in say:
            p.say(one(p) if callable(one) else one)
        p.hear_end()
    return behave


def endless(p):
    """A hello that goes on."""
    p.until('machine end')
    p.hear_hello()
    try:
        while True:
            p.say(wire.Record(wire.HELLO, 0, 0, bytes(wire.PAYLOAD_MAX)))
    except OSError:
        pass


def late(p):
    """It answers when the source has gone."""
    p.until('machine end')
    heard = p.hear_hello()
    p.hear_end()
    try:
        p.hello(peer.mirrored(heard))
    except OSError:
        pass


def goes(size, reset=False):
    """It closes when it has said so many bytes of its hello."""
    def behave(p):
        p.until('machine end')
        facts = peer.mirrored(p.hear_hello())
        data = b''
        for record in talk.hello(facts):
            data += record.encode(len(data))
        p.raw(data[:len(data) // 2 if size is None else size])
        p.close(reset)
    return behave


def goes_amid_word(size, reset=False):
    """And so many of LOADED."""
    def behave(p):
        peer.greet(p)
        data = talk.word(talk.LOADED, p.token, peer.take(p)).encode(p.offset)
        p.raw(data[:size])
        p.close(reset)
    return behave


def word(message, detail=0, text='', token=None):
    def make(p):
        return talk.word(message, p.token if token is None else token, detail,
                         text)
    return make


def refusal(phase, text):
    return word(talk.REFUSED, phase, text)


ANSWER = struct.pack('>HHI', 2, 4, 0x51344856)      # a PONG of version 3

DESTINATIONS = {
    'says nothing': (says(b''), SILENCE + ['hello'], SHORT),
    'answers too late': (late, SILENCE + ['hello'], SHORT),
    'says nothing behind its hello': (after_hello(),
                                      SILENCE + ['loaded'], SHORT),
    'talks rubbish': (says(os.urandom(4096)), ['header'], LONG),
    'says zeros': (says(bytes(4096)), ['header'], LONG),
    'says what version 3 says': (says(ANSWER * 8), ['header'], LONG),
    'talks rubbish behind its hello': (
        lambda p: (peer.greet(p), p.raw(os.urandom(4096)), p.hear_end()),
        ['header'], LONG),
    'says hello twice': (
        lambda p: (p.hello(peer.mirrored(peer.greet(p))), p.hear_end()),
        ['hello', 'once'], LONG),
    'has a hello of 4 GiB': (says(head(wire.HELLO, 0xffffffff)),
                             ['too long'], LONG),
    'has a hello without end': (endless, ['too long'], LONG),
    'has an empty hello': (says_hello(b''), ['JSON'], LONG),
    'has a hello that is no JSON': (says_hello(b'{"qemu": '), ['JSON'], LONG),
    'has a hello of zeros': (says_hello(bytes(100)), ['NUL'], LONG),
    'has a hello with nothing in it': (says_hello(b'{}'), ['qemu'], LONG),
    'has a hello that is a list': (says_hello(b'[1, 2]'), ['object'], LONG),
    'has a hello nested 4000 deep': (says_hello(nested(4000)), ['JSON'],
                                     LONG),
    'says something else than hello': (
        says(wire.Record(wire.FULL, wire.LAST, 1,
                         wire.ident('ram')).encode(0)), ['section'], LONG),
    'says something unknown': (
        after_hello(wire.Record(UNKNOWN, wire.LAST, 0, b'?')),
        [f'0x{UNKNOWN:04x}'], LONG),
    'says a word that nobody knows': (after_hello(word(99)), ['99'], LONG),
    'says a word that is cut short': (
        after_hello(wire.Record(wire.HANDOVER, wire.LAST, 0, bytes(15))),
        ['length', '15'], LONG),
    'has loaded before the end': (after_hello(word(talk.LOADED)),
                                  ['before everything was sent'], LONG),
    'has loaded something else': (
        after_end(word(talk.LOADED, 0x12345678)),
        ['something else', '0x12345678'], LONG),
    'runs the guest without a word': (after_end(word(talk.RUNNING)),
                                      ['running'], LONG),
    'says what is for a source to say': (after_hello(word(talk.RUN)),
                                         ['run'], LONG),
    'speaks of another migration': (
        after_end(word(talk.LOADED, 0, '', OTHER)),
        ['another migration', f'{OTHER:016x}'], LONG),
    'refuses for a reason that does not exist': (
        after_hello(word(talk.REFUSED, 9, 'no')), ['0x9'], LONG),
    'refuses in more words than there may be': (
        after_hello(refusal(3, 'x' * 5000)), ['length'], LONG),
}


class Scene:
    """A source whose guest outlives everything."""

    def __init__(self):
        self.vm = None

    @property
    def src(self):
        if not self.vm or not self.vm.alive():
            self.vm = Qemu(BUILT, '-m', peer.MEMORY, machine=Q35)
        return self.vm

    def fails(self, behave, words, timeout):
        if timeout is SHORT:
            return hastily(lambda timeout: self.fails(
                behave, [*words, f'after {timeout} ms'], timeout))
        self.src.set_params(peer_timeout=timeout)
        with peer.Destination(behave) as dst:
            start_migration(self.src, dst.uri)
            info = wait_migration(self.src, 'failed')
        said = info['error-desc']
        for text in words:
            check(text in said, said)
        check(not obscure(said), f'it is obscure: {said}')
        equal(self.src.status(), 'running', 'status of the source')
        return said

    def refused(self, behave, phase, text):
        said = self.fails(behave, ["the destination refused (phase "
                                   f"'{phase}')"], LONG)
        check(said.endswith(text), repr(said))

    def everywhere(self, goes_at, sizes):
        """It goes at each of these places."""
        for size in sizes:
            for reset in False, True:
                self.fails(goes_at(size, reset), [], LONG)

    def close(self):
        if self.vm:
            self.vm.close()

    def good(self):
        with peer.Destination(peer.accept) as dst:
            migrate(self.src, dst.uri)
        equal(self.src.status(), 'postmigrate', 'status of the source')


def to_strangers(t):
    scene = Scene()
    with contextlib.closing(scene):
        for name, how in DESTINATIONS.items():
            t.case(f'a destination {name}', scene.fails, *how)
        for phase in range(1, len(talk.PHASES)):
            t.case(f'a destination refuses in phase {talk.PHASES[phase]}',
                   scene.refused, after_hello(refusal(phase, 'the moon')),
                   talk.PHASES[phase], 'the moon')
        t.case('a destination refuses when everything has come',
               scene.refused, after_end(refusal(4, 'why not')), 'completion',
               'why not')
        t.case('a refusal that would do something to a screen',
               scene.refused, after_hello(refusal(3, 'a\33[2Jb\7')), 'state',
               'a?[2Jb?')
        t.case('a destination goes at each byte of its hello',
               scene.everywhere, goes, [*range(wire.HEADER.size + 3), None])
        t.case('a destination goes at each byte of its word',
               scene.everywhere, goes_amid_word,
               range(wire.HEADER.size + talk.WORD.size))
        t.case('then the same guest migrates', scene.good)


# -- sources.  What they do, and what the destination has to say

def hear_refusal(p):
    """Hangs up when it is refused, as a source does."""
    unit = p.next()
    while unit and unit.name != 'REFUSED':
        unit = p.next()


def says_first(data):
    return lambda p, src: (p.raw(data), hear_refusal(p))


def greets_with(facts):
    def behave(p, src):
        src.begin(p)
        p.hello(facts)
        hear_refusal(p)
    return behave


def begins(change):
    """Its machine as change() makes it of the records, and a hello."""
    def behave(p, src):
        src.machine = change(src.machine)
        p.preamble()
        # It may be refused before all of it is sent.
        with contextlib.suppress(OSError):
            p.say(*src.machine)
            p.hello(src.facts | {'token': f'{p.token:016x}'})
        hear_refusal(p)
    return behave


def describes(machine):
    """Any bytes as its machine."""
    return begins(lambda _: [*wire.chain(wire.MACHINE, machine), MACHINE_END])


def endless_machine(p, src):
    """A machine that goes on."""
    p.preamble()
    with contextlib.suppress(OSError):
        while True:
            p.say(wire.Record(wire.MACHINE, 0, 0, bytes(wire.PAYLOAD_MAX)))


MACHINE_END = wire.Record(wire.MACHINE_END, wire.LAST, 0, b'')


def then(*say):
    """Its hello as it should be, then some records."""
    def behave(p, src):
        src.greet(p)
        for one in say:
            p.say(one(p) if callable(one) else one)
        hear_refusal(p)
    return behave


def greets_twice(p, src):
    src.greet(p)
    p.hello(src.facts)
    hear_refusal(p)


def silent_at(count):
    """It stops when it has said so many records behind its hello."""
    def behave(p, src):
        src.greet(p)
        p.say(*src.stream.records[:count])
        hear_refusal(p)
    return behave


def says_run_early(p, src):
    src.greet(p)
    p.say(*src.stream.records[:1])
    p.word(talk.RUN)
    hear_refusal(p)


def lies_in_index(p, src):
    """It says that all is there, and has left a section out."""
    src.stream.drop(src.stream.find('timer'))
    src.greet(p)
    p.say(*src.stream.records)
    hear_refusal(p)


SOURCES = {
    'says nothing': (says_first(b''), SILENCE + ['machine'], SHORT),
    'says nothing behind the preamble': (
        says_first(talk.PREAMBLE), SILENCE + ['machine'], SHORT),
    'says nothing behind its machine': (
        lambda p, src: (src.begin(p), hear_refusal(p)), SILENCE + ['hello'],
        SHORT),
    'has no machine': (begins(lambda _: []), ['machine is missing'], LONG),
    'has nothing but the end of a machine': (
        begins(lambda m: m[-1:]), ['machine is missing'], LONG),
    'has a machine that does not end': (
        begins(lambda m: m[:-1]), ['end is missing', 'hello'], LONG),
    'has its machine twice': (
        begins(lambda m: m[:-1] + m), ['end is missing', 'machine'], LONG),
    'has its machine twice, each with an end': (
        begins(lambda m: m + m), ['machine', 'late'], LONG),
    'has two ends of its machine': (
        begins(lambda m: m + m[-1:]), ['machine end', 'late'], LONG),
    'says its machine behind its hello': (
        lambda p, src: (src.greet(p), p.say(*src.machine), hear_refusal(p)),
        ['machine', 'late'], LONG),
    'has an end of its machine that goes on': (
        begins(lambda m: m[:-1] + [wire.Record(wire.MACHINE_END, 0, 0, b'')]),
        ['last of its chain'], LONG),
    'has something in the end of its machine': (
        begins(lambda m: m[:-1] + [wire.Record(wire.MACHINE_END, wire.LAST, 0,
                                               b'?')]), ['payload'], LONG),
    'has something optional before its machine': (
        begins(lambda m: [OPTIONAL, *m]), ['machine is missing'], LONG),
    'has something unknown behind its machine': (
        begins(lambda m: m[:-1] + [wire.Record(UNKNOWN, wire.LAST, 0, b'?'),
                                   m[-1]]), [f'0x{UNKNOWN:04x}'], LONG),
    'has a section behind its machine': (
        begins(lambda m: m[:-1] + [wire.Record(wire.FULL, wire.LAST, 1,
                                               wire.ident('ram'))]),
        ['end is missing', 'section'], LONG),
    'has its configuration before its machine': (
        lambda p, src: (p.preamble(), p.say(*src.stream.records[:1]),
                        hear_refusal(p)), ['machine is missing'], LONG),
    'has a machine of 4 GiB': (
        says_first(talk.PREAMBLE + head(wire.MACHINE, 0xffffffff, offset=8)),
        ['too long'], LONG),
    'has a machine without end': (endless_machine, ['too long'], LONG),
    'has an empty machine': (describes(b''), ['JSON'], LONG),
    'has a machine that is no JSON': (describes(b'{"format": '), ['read'],
                                      LONG),
    'has a machine of zeros': (describes(bytes(100)), ['no text'], LONG),
    'has a machine with nothing in it': (describes(b'{}'), ['format'], LONG),
    'has a machine of another format': (describes(b'{"format": 2}'),
                                        ['format 2'], LONG),
    'has a machine that is a list': (describes(b'[1, 2]'), ['object'], LONG),
    'has a machine nested 4000 deep': (describes(nested(4000)), ['read'],
                                       LONG),
    'says nothing behind its hello': (
        then(), SILENCE + ['configuration'], SHORT),
    'talks rubbish': (says_first(os.urandom(4096)), ['stream'], LONG),
    'talks rubbish behind the preamble': (
        says_first(talk.PREAMBLE + os.urandom(4096)), ['header'], LONG),
    'says hello twice': (greets_twice, ['hello', 'once'], LONG),
    'has a hello of 4 GiB': (
        says_first(talk.PREAMBLE + head(wire.HELLO, 0xffffffff, offset=8)),
        ['too long'], LONG),
    'has a hello that is no JSON': (greets_with(b'{"qemu": '), ['JSON'],
                                    LONG),
    'has a hello with nothing in it': (greets_with(b'{}'), ['qemu'], LONG),
    'has a hello nested 4000 deep': (greets_with(nested(4000)), ['JSON'],
                                     LONG),
    'says a word that nobody knows': (then(word(99)), ['99'], LONG),
    'says what is for a destination to say': (
        then(word(talk.LOADED)), ['loaded'], LONG),
    'gives the guest before it was loaded': (says_run_early, ['run'], LONG),
    'has left a section out': (lies_in_index, ['timer'], LONG),
    'says something unknown': (
        then(wire.Record(UNKNOWN, wire.LAST, 0, b'?')),
        [f'0x{UNKNOWN:04x}'], LONG),
}


class Waiting:
    """A destination that takes one source after the other."""

    def __init__(self, made_up):
        self.made_up = made_up
        self.dst = None

    def waits(self, timeout):
        """Where it does."""
        if not self.dst or not self.dst.alive():
            self.dst = Qemu(BUILT, '-m', peer.MEMORY, machine=Q35,
                            incoming='defer')
        self.dst.set_params(peer_timeout=timeout)
        self.dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        return self.dst.listens_at()

    def close(self):
        if self.dst:
            self.dst.close()

    def fails(self, behave, words, timeout):
        if timeout is SHORT:
            hastily(lambda timeout: self.fails(
                behave, [*words, f'after {timeout} ms'], timeout))
            return
        with peer.connect(self.waits(timeout)) as p:
            behave(p, self.made_up.source())
        said = wait_migration(self.dst, 'failed')['error-desc']
        for text in words:
            check(text in said, said)
        check(not obscure(said), said)
        equal(self.dst.status(), 'inmigrate', 'status of the destination')

    def everywhere(self):
        """It goes at each byte of what comes before the memory."""
        src = self.made_up.source()
        facts = src.facts | {'token': f'{secrets.randbits(64):016x}'}
        machine = len(wire.encode(src.machine))
        data = wire.encode(src.machine + talk.hello(facts))
        first = wire.PREAMBLE.size + wire.HEADER.size
        for size in [*range(first + 3), machine // 2, *range(
                         machine - 2, machine + wire.HEADER.size + 3),
                     (machine + len(data)) // 2, len(data) - 1]:
            for reset in False, True:
                self.fails(lambda p, _src, size=size, reset=reset: (
                    p.raw(data[:size]), p.close(reset)), [], LONG)

    def optional(self):
        """Something that a later QEMU says before the machine's end."""
        src = self.made_up.source()
        src.machine[-1:-1] = [OPTIONAL]
        with peer.connect(self.waits(LONG)) as p:
            src.hand_over(p)
        self.dst.close()
        self.dst = None

    def two(self):
        """A second source comes while the first one talks."""
        uri = self.waits(LONG)
        first = self.made_up.source()
        with peer.connect(uri) as p, \
             Qemu(BUILT, '-m', peer.MEMORY, machine=Q35) as second:
            first.greet(p)
            second.set_params(peer_timeout=HASTE[0])
            start_migration(second, uri)
            info = wait_migration(second, 'failed')
            check(info.get('error-desc'), info)
            equal(second.status(), 'running', 'status of the second source')
            first.send(p)
            equal(p.hear_word().message, talk.LOADED, 'word')
            p.word(talk.RUN)
            equal(p.hear_word().message, talk.RUNNING, 'word')


def from_strangers(t, made_up):
    with contextlib.closing(Waiting(made_up)) as waiting:
        for name, how in SOURCES.items():
            t.case(f'a source {name}', waiting.fails, *how)
        t.case('a source goes at each byte of its machine and hello',
               waiting.everywhere)
        t.case('a source has something optional behind its machine',
               waiting.optional)
        t.case('two sources at one destination', waiting.two)


def orphan(made_up):
    """While a destination has a guest and no source, it takes it from nobody
    else, and strangers do not keep it from the right one."""
    with Qemu(BUILT, '-m', peer.MEMORY, machine=Q35, incoming='defer') as dst:
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        uri = dst.listens_at()
        src = made_up.source()
        with peer.connect(uri) as p:
            src.greet(p)
            src.send(p)
            equal(p.hear_word().message, talk.LOADED, 'word')
            token = p.token
        wait_for(lambda: dst.qmp('query-migrate')['peer']['hand-over'] ==
                 'orphaned', 30, lambda: dst.qmp('query-migrate'))

        def tries(*say, token=token):
            with peer.connect(uri, token) as p:
                for one in say:
                    one(p)
                return p.hear_end()

        def run(p):
            p.preamble()
            p.word(talk.RUN)

        silent = peer.connect(uri)
        for say in ([lambda p: p.raw(os.urandom(100))],
                    [lambda p: p.raw(wire.PREAMBLE.pack(wire.MAGIC, 3))],
                    [lambda p: p.raw(wire.PREAMBLE.pack(wire.MAGIC, 5))],
                    [lambda p: p.preamble(), lambda p: p.hello(src.facts)],
                    [lambda p: p.preamble(), lambda p: p.word(talk.RUNNING)]):
            equal([u.name for u in tries(*say)], [], 'answer')
        check('RUNNING' not in [u.name for u in tries(run, token=OTHER)],
              'the guest was given to a stranger')
        check(dst.status() != 'running', f'the guest is {dst.status()}')
        with silent, peer.connect(uri, token) as p:
            run(p)
            equal(p.hear_word().message, talk.RUNNING, 'word')
            # What was recorded had not been started yet.
            dst.wait_status('prelaunch')


def in_doubt(*answer):
    """The source has given the guest up, and somebody else has come to listen
    where the destination was: whatever that one says, the guest stays paused
    until a person runs it."""
    given, goes = threading.Event(), threading.Event()

    def behave(p):
        if not given.is_set():
            peer.greet(p)
            behave.token = p.token
            p.word(talk.LOADED, peer.take(p))
            equal(p.hear_word().message, talk.RUN, 'word')
            given.set()
            goes.wait(LONG / 1000)
            return
        p.token = behave.token
        p.until('RUN')
        with contextlib.suppress(OSError):
            p.say(*(one(p) for one in answer))
            p.hear_end()

    with Qemu(BUILT, '-m', peer.MEMORY, machine=Q35) as src:
        src.set_params(peer_timeout=LONG)
        with peer.Destination(behave) as dst:
            start_migration(src, dst.uri)
            wait_for(given.is_set, 60, lambda: src.qmp('query-migrate'))
            # From here on there is only the time in which it asks again.
            src.set_params(peer_timeout=ASKING)
            goes.set()
            info = wait_migration(src, 'failed')
        check('may run there' in info['error-desc'], info['error-desc'])
        equal(info['peer']['hand-over'], 'in-doubt', 'hand-over')
        check(src.status() != 'running', 'the guest runs on')
        src.qmp('cont')
        src.wait_status('running')


def comes_back():
    """The same, but the one who has the guest gives it back."""
    token = []

    def behave(p):
        if not token:
            peer.greet(p)
            token.append(p.token)
            p.word(talk.LOADED, peer.take(p))
            p.hear_word()
            return
        p.until('RUN')
        p.token = token[0]
        p.word(talk.REFUSED, talk.ACTIVATION, 'no disk')
        p.hear_end()

    with Qemu(BUILT, '-m', peer.MEMORY, machine=Q35) as src, \
         peer.Destination(behave) as dst:
        start_migration(src, dst.uri)
        info = wait_migration(src, 'failed')
        check("(phase 'activation'): no disk" in info['error-desc'],
              info['error-desc'])
        src.wait_status('running')


STRANGERS = {
    'nothing': [],
    'that it refuses': [word(talk.REFUSED, talk.CONFIGURATION, 'who?', 0)],
    'that it cannot have the disks of another guest': [
        word(talk.REFUSED, talk.ACTIVATION, 'no', OTHER)],
    'that it refuses what it has loaded': [
        word(talk.REFUSED, talk.STATE, 'no')],
    'hello': [lambda p: talk.hello({'machine': 'pc'})[0]],
    'that it has loaded everything': [word(talk.LOADED)],
    'that it runs another guest': [word(talk.RUNNING, token=OTHER)],
}


def over_tls(directory, words, client, server):
    """With credentials that do not fit; then with those that do."""
    for side, where in ('server', server), ('client', client):
        if not (directory / where).exists():
            tls.make_x509(directory / where)
    params = dict(tls_creds='tls', tls_hostname='localhost')
    with Qemu(BUILT, '-m', peer.MEMORY, *tls.credentials(
                  'x509', directory / client, 'client'), machine=Q35) as src, \
         Qemu(BUILT, '-m', peer.MEMORY, *tls.credentials(
                  'x509', directory / server, 'server'), machine=Q35,
              incoming='defer') as dst:
        for vm in src, dst:
            vm.set_params(**params)
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        start_migration(src, dst.listens_at())
        if words is None:
            wait_migration(src)
            dst.wait_status('running')
            return
        info = wait_migration(src, 'failed')
        for text in words:
            check(text in info['error-desc'], info['error-desc'])
        equal(src.status(), 'running', 'status of the source')


with Tap('peers that are not what they should be') as tap, \
     tempdir() as work:
    to_strangers(tap)
    made = peer.MadeUp(Q35, work)
    from_strangers(tap, made)
    tap.case('strangers at a destination that has a guest', orphan, made)
    for said, answer in STRANGERS.items():
        tap.case(f'a stranger answers {said} to a source in doubt', in_doubt,
                 *answer)
    tap.case('the guest is given back to a source in doubt', comes_back)
    tap.case('TLS with credentials that fit', over_tls, work, None, 'one',
             'one')
    tap.case('TLS with credentials of somebody else', over_tls, work,
             ['certificate'], 'one', 'other')
