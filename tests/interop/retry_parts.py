#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a try leaves behind in the parts of an incoming migration: channels of
multifd, connections that are not the source's, TLS, dirty bitmaps, a postcopy
that fails before the guest runs, and how QEMU ends where nobody tries again.
"""

import contextlib
import functools
import os
import socket
import struct
import threading
import time

from harness.qemu import (BUILT, Qemu, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop import wire
from interop.link import Link
from interop.live import TLS, prepare
from interop.loading import LOAD_TIMEOUT
from interop.proxy import Proxy, at_content, turned
from interop.retrying import (again, put, resources, wait_failed,
                              wait_resources)
from interop.tls import credentials, make_psk

V3, V4 = 'pc-q35-7.2', 'pc-q35-7.2-v4'
MIB = 1 << 20
# Far from its end for as long as anybody looks at it
SLOW = 1 << 14
# Some destinations have something else on purpose.
ANYTHING = '-global', 'migration.config-check=off'
# With their lengths before them, as sections have them, and neither hello nor
# index; one of them will not be split between two packets.
DEVICES = b'\x0bmc146818rtc', b'\x0acpu_common', b'\x0aacpi_build', b'\x05timer'
MULTIFD_MAGIC, MULTIFD_VERSION = 0x11223344, 1
PREEMPT_MAGIC = 0x55524721
MULTIFD_MAIN = wire.PREAMBLE.pack(wire.MAGIC, wire.VERSION)
ENDED = 'has ended before all of its channels came'
PREEMPT = {'postcopy-ram': True, 'postcopy-preempt': True}


def machine(*args, **options):
    return Qemu(BUILT, '-S', '-m', '32M', '-device', 'virtio-rng-pci', *args,
                **{'machine': V4, **options})


def waiting(*args, **options):
    return machine(*args, incoming='defer', name='destination', **options)


def connect(uri, data=b''):
    _, host, port = uri.split(':')
    sock = socket.create_connection((host, int(port)), timeout=30)
    sock.sendall(data)
    return sock


def done(src, dst, uri, **params):
    migrate(src, uri, params={'max-bandwidth': 1 << 40, **params})
    wait_migration(dst)


# -- multifd

def channel(number, *, magic=MULTIFD_MAGIC, more=b''):
    """The beginning of one of a machine without a UUID."""
    return struct.pack('>II16sB39x', magic, MULTIFD_VERSION, bytes(16),
                       number) + more


def multifd(word, *channels, main=b'', caps=None):
    """Fails because of one of the channels; then it works."""
    with machine() as src, waiting() as dst:
        prepare((src, dst), {'multifd': True, **(caps or {})},
                {'multifd-channels': 2})
        # Nobody here reads what it answers.
        dst.set_params(peer_timeout=3000)
        uri = again(dst)
        before = resources(dst)
        for _ in range(2):
            with contextlib.ExitStack() as links:
                stream = links.enter_context(connect(uri))
                for data in channels:
                    link = links.enter_context(connect(uri, data))
                    link.shutdown(socket.SHUT_WR)
                stream.sendall(main)
                why = wait_failed(dst)
                check(word in why, f'{word!r} is missing in: {why}')
            uri = again(dst)
            wait_resources(dst, before)
        dst.set_params(peer_timeout=30000)
        done(src, dst, uri)


def recorded():
    """The main stream of a migration with two channels."""
    main = bytearray()
    with machine() as src, waiting() as dst:
        prepare((src, dst), {'multifd': True}, {'multifd-channels': 2})
        with Link(again(dst), main.extend) as link:
            done(src, dst, link.uri)
    return main


def other_channels(word, *channels):
    """The main stream of another migration, with these channels."""
    multifd(word, *channels, main=recorded())


def gone(caps, *channels):
    """The source ends the main connection, and another one does not come."""
    with machine() as src, waiting() as dst:
        prepare((src, dst), caps, {'multifd-channels': 2})
        uri = again(dst)
        before = resources(dst)
        for main in b'', MULTIFD_MAIN:
            dst.set_params(peer_timeout=1000)
            with contextlib.ExitStack() as links:
                with connect(uri, main):
                    for data in channels:
                        links.enter_context(connect(uri, data))
                why = wait_failed(dst)
                check(ENDED in why, f'because of: {why}')
            uri = again(dst)
            wait_resources(dst, before)
        dst.set_params(peer_timeout=30000)
        done(src, dst, uri)


def drain(sock):
    with contextlib.suppress(OSError):
        while sock.recv(4096):
            pass


def gone_with_all():
    """The source has sent everything, and ended the main connection, before
    its channels are taken: they are waited for."""
    main = recorded()
    with waiting() as dst, contextlib.ExitStack() as links:
        prepare((dst,), {'multifd': True}, {'multifd-channels': 2})
        uri = again(dst)
        stream = links.enter_context(connect(uri, main))
        stream.shutdown(socket.SHUT_WR)
        reader = threading.Thread(target=drain, args=(stream,), daemon=True)
        reader.start()
        time.sleep(1)           # or it need not wait
        check('status' not in dst.qmp('query-migrate'), 'it has failed')
        for number in range(2):
            link = links.enter_context(connect(uri, channel(number)))
            link.shutdown(socket.SHUT_WR)
        why = wait_failed(dst)
        check('is over before its pages' in why, f'because of: {why}')


# -- others that connect

def two_sources():
    """The one that comes second is refused, and the first is not harmed."""
    with machine() as first, machine(name='second source') as second, \
         waiting() as dst:
        uri = again(dst)
        start_migration(first, uri, params={'max-bandwidth': SLOW})
        wait_migration(dst, 'active')
        start_migration(second, uri)
        wait_migration(second, 'failed')
        first.set_params(max_bandwidth=1 << 40)
        wait_migration(first)
        wait_migration(dst)


@contextlib.contextmanager
def tls_sides(count, wrong=False):
    """Sources and a destination that use TLS, the last of the sources with
    another key if wrong."""
    with tempdir() as directory, contextlib.ExitStack() as vms:
        where = make_psk(directory / 'tls')
        other = make_psk(directory / 'other')
        sources = [vms.enter_context(machine(
            *credentials('psk', other if wrong and number + 1 == count
                         else where, 'client'), name=f'source {number}'))
            for number in range(count)]
        dst = vms.enter_context(
            waiting(*credentials('psk', where, 'server')))
        prepare((*sources, dst), None, TLS)
        yield (*sources, dst)


def wrong_key(anew):
    """It says so; the same try or another one can still succeed."""
    with tls_sides(2, wrong=True) as (right, wrong, dst):
        uri = again(dst)
        for _ in range(3):
            start_migration(wrong, uri)
            wait_migration(wrong, 'failed')
            wait_failed(dst)
            if anew:
                uri = again(dst)
        done(right, dst, uri)


# -- dirty bitmaps, and the state in which the guest was

def bitmaps():
    """The first try brings them all, and fails at its end."""
    args = ['-blockdev', 'null-co,node-name=disk,size=1048576,read-zeroes=on',
            '-device', 'virtio-blk-pci,drive=disk']
    with tempdir() as directory, machine(*args) as src, \
         waiting(*args) as dst:
        for vm in src, dst:
            vm.set_caps(dirty_bitmaps=True)
        for name in 'one', 'two':
            src.qmp('block-dirty-bitmap-add', node='disk', name=name,
                    disabled=name == 'two')
        path = directory / 'stream'
        migrate(src, f'exec:cat > {path}')
        wait_for(lambda: path.stat().st_size ==
                 src.qmp('query-migrate')['stream']['bytes'], 10,
                 lambda: 'not all was written')
        stream = path.read_bytes()
        for size in len(stream) - 1, len(stream) - 1, len(stream) * 3 // 4:
            again(dst, f'unix:{directory}/socket')
            put(directory / 'socket', stream[:size])
            wait_failed(dst)
            equal(names(dst), [], 'bitmaps after a failure')
        again(dst, f'unix:{directory}/socket')
        put(directory / 'socket', stream)
        wait_migration(dst)
        equal(names(dst), ['one', 'two'], 'bitmaps')


def names(vm):
    return sorted(bitmap['name'] for disk in vm.qmp('query-block')
                  for bitmap in disk.get('inserted', {})
                  .get('dirty-bitmaps', []))


# -- a postcopy that fails before its guest runs

def port(vectors):
    """A device that takes no state from one with other vectors."""
    return '-device', f'virtio-serial-pci,vectors={vectors}'


def before_it_runs(preempt, change=None):
    """The package of device state is damaged, or the link is cut as it comes;
    or, without a change, a device refuses what is in it, while other threads
    already wait for pages: the destination is there for the next source."""
    caps = {'postcopy-ram': True, 'postcopy-preempt': preempt}
    find = at_content(DEVICES, change)

    def damage(data, offset):
        return find(data, offset) if change else data

    with machine(*port(2 if change else 3)) as other, \
         machine(*port(2)) as src, waiting(*port(2), *ANYTHING) as dst:
        prepare((other, src, dst), caps)
        uri = again(dst)
        before = resources(dst)
        with Several(uri, damage) as proxy:
            start_migration(other, proxy.uri, params={'max-bandwidth': SLOW})
            wait_migration(dst, 'active')
            other.qmp('migrate-start-postcopy')
            why = wait_failed(dst)
            equal(proxy.done.is_set(), bool(change), 'damaged')
            check(change or 'virtio-console' in why, f'because of: {why}')
        uri = again(dst)
        wait_resources(dst, before)
        done(src, dst, uri)


class Several(Proxy):
    """A proxy for a source that makes more than one connection."""

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                source, _ = self.listener.accept()
                destination = socket.create_connection(self.target)
                self.links += source, destination
                for ends in (source, destination, True), \
                            (destination, source, False):
                    threading.Thread(target=self._forward, daemon=True,
                                     args=ends).start()


# -- where nobody tries again

def ends(version, incoming):
    """Exit status 1."""
    with Qemu(BUILT, '-S', '-m', '16M', machine=version,
              incoming=incoming) as dst:
        if incoming == 'defer':
            dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        connect(dst.listens_at(), b'no such thing').close()
        equal(dst.wait_exit(), 1, 'exit status')


with Tap('what a failed try leaves behind') as t:
    t.case('multifd: a channel that is none', multifd, 'magic',
           channel(0, magic=1))
    t.case('multifd: a channel that is not one of them', multifd,
           'channel id 7', channel(7))
    t.case('multifd: a channel twice', multifd, 'already',
           channel(1), channel(1))
    t.case('multifd: a channel for urgent pages, which nobody expects',
           multifd, 'magic', channel(0, magic=PREEMPT_MAGIC))
    t.case('multifd, preempt: two channels for urgent pages',
           functools.partial(multifd, caps=PREEMPT), 'already',
           *[channel(0, magic=PREEMPT_MAGIC)] * 2)
    t.case('multifd, preempt: no channel for urgent pages',
           functools.partial(multifd, caps=PREEMPT), ENDED, channel(0),
           channel(1))
    t.case('multifd: a channel that ends before the others come', multifd,
           ENDED, channel(0))
    # Which of the two is read first is up to their threads
    t.case('multifd: channels that have no packets', other_channels,
           'record header is damaged',
           *(channel(number, more=bytes(1 << 16)) for number in range(2)))
    t.case('multifd: channels that end before the pages', other_channels,
           'is over before its pages', channel(0), channel(1))
    t.case('multifd: no channel, and the source has gone', gone,
           {'multifd': True})
    t.case('multifd: a channel too few, and the source has gone', gone,
           {'multifd': True}, channel(0))
    t.case('preempt: no channel, and the source has gone', gone, PREEMPT)
    t.case('multifd: the source has gone before its channels are taken',
           gone_with_all)
    t.case('two sources at one destination', two_sources)
    t.case('a wrong key, then the right one', wrong_key, False)
    t.case('a wrong key, then another try', wrong_key, True)
    t.case('dirty bitmaps', bitmaps)
    for with_preempt in False, True:
        of = 'with' if with_preempt else 'without'
        t.case(f'a damaged package of a postcopy, {of} preempt',
               before_it_runs, with_preempt, turned)
        t.case(f'a cut package of a postcopy, {of} preempt', before_it_runs,
               with_preempt, lambda _data, _at: None)
        t.case(f'a package that a device refuses, {of} preempt',
               before_it_runs, with_preempt)
    t.case('version 4 with a URI ends with status 1', ends, V4,
           'tcp:127.0.0.1:0')
    t.case('version 3 with a URI ends with status 1', ends, V3,
           'tcp:127.0.0.1:0')
    t.case('version 3, deferred, ends with status 1', ends, V3, 'defer')
