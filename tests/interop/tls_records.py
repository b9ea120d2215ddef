#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes over the wire under TLS: records that are full, and a cipher that
this processor does fast unless the credential says otherwise.
"""

import contextlib
import os
import pathlib
import struct

from harness.qemu import (BUILT, STOCK, Qemu, migrate, tempdir, wait_migration)
from harness.tap import Tap, check, equal
from interop.link import CHUNK, Link
from interop.live import prepare
from interop.tls import credentials, make_psk, make_x509

MIB = 1 << 20
RANDOM = 16 * MIB
MACHINES = {3: 'pc-q35-7.2', 4: 'pc-q35-7.2-v4'}
KINDS = {'psk': make_psk, 'x509': make_x509}
HANDSHAKE, DATA = 22, 23
SERVER_HELLO = 2
SUITES = {0x1301: 'AES-128-GCM', 0x1302: 'AES-256-GCM',
          0x1303: 'CHACHA20-POLY1305', 0x1304: 'AES-128-CCM'}
# Of a record's plain text; TLS 1.3 adds its type and a tag.  An alert has 2
# bytes, and is not sent but to say goodbye.
FULL, ADDED, BYE = 16384, 17, 2
CHACHA = 'NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305'


class Records:
    """The records of one direction of a connection."""

    def __init__(self):
        self.rest = b''
        self.sizes = []         # of those with data
        self.suite = None

    def __call__(self, data):
        self.rest += data
        while len(self.rest) >= 5:
            kind, _, length = struct.unpack('>BHH', self.rest[:5])
            if len(self.rest) < 5 + length:
                break
            payload, self.rest = self.rest[5:5 + length], self.rest[5 + length:]
            if kind == DATA:
                self.sizes.append(length - ADDED)
            elif kind == HANDSHAKE and payload[0] == SERVER_HELLO:
                # Header, version and random; then a session id of any length
                at = 4 + 2 + 32
                at += 1 + payload[at]
                number, = struct.unpack_from('>H', payload, at)
                self.suite = SUITES.get(number, f'{number:#x}')


class Listening(Link):
    """Keeps what goes by on each connection."""

    def __init__(self, uri):
        self.sent, self.answered = [], []
        super().__init__(uri)

    def _join(self, source, destination, _count):
        self.sent.append(Records())
        self.answered.append(Records())
        self._start(self._forward, source, destination, self.sent[-1])
        self._start(self._forward, destination, source, self.answered[-1])

    def _forward(self, origin, target, watch, back=False):
        """One side may be gone when the other says goodbye."""
        with contextlib.suppress(OSError):
            while data := origin.recv(CHUNK):
                watch(data)
                with contextlib.suppress(OSError):
                    target.sendall(data)
        with contextlib.suppress(OSError):
            self._ended(origin, target)

    def settle(self):
        """Waits until all that was sent has come by; both sides have gone."""
        for thread in self.threads[1:]:
            thread.join(30)


def fast():
    """What this processor has instructions for."""
    flags = pathlib.Path('/proc/cpuinfo').read_text()
    return {'aes', 'pclmulqdq'} <= set(flags.split())


def listen(version, kind, multifd=False, priority=None, source=BUILT,
           destination=BUILT, caps=None):
    """Migrates random memory under TLS; returns what was heard of it."""
    options = f',priority={priority}' if priority else ''
    with tempdir() as directory:
        where = KINDS[kind](directory / 'tls')
        creds = {side: credentials(kind, where, side)
                 for side in ('client', 'server')}
        for args in creds.values():
            args[-1] += options
        path = directory / 'random'
        path.write_bytes(os.urandom(RANDOM))
        common = ['-S', '-m', '48M', '-nodefaults']
        # Only the source loads the file, which is a difference
        alike = ['-global', 'migration.config-check=off'] * (version == 4)
        with Qemu(source, *common, *creds['client'], '-device',
                  f'loader,file={path},addr={8 * MIB:#x},force-raw=on',
                  machine=MACHINES[version]) as src, \
             Qemu(destination, *common, *alike, *creds['server'],
                  incoming='defer', machine=MACHINES[version]) as dst:
            prepare((src, dst), {'multifd': multifd, **(caps or {})},
                    {'tls-creds': 'tls', 'tls-hostname': 'localhost'})
            dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
            with Listening(dst.listens_at()) as link:
                migrate(src, link.uri)
                wait_migration(dst)
                link.shown = [vm.qmp('query-migrate').get('tls')
                              for vm in (src, dst)]
                link.said = src.hmp('info migrate')
                for name in ('here', 'there'):
                    vm = src if name == 'here' else dst
                    vm.qmp('pmemsave', val=8 * MIB, size=RANDOM,
                           filename=str(directory / name))
                link.settle()
                check((directory / 'here').read_bytes() ==
                      (directory / 'there').read_bytes() == path.read_bytes(),
                      'the memory did not arrive')
                return link


def full_records(*args):
    link = listen(*args)
    sizes = [size for records in link.sent for size in records.sizes]
    check(sum(sizes) > RANDOM, f'only {sum(sizes)} bytes went by')
    check(max(sizes) <= FULL, f'a record has {max(sizes)} bytes')
    whole = sum(size for size in sizes if size == FULL)
    check(whole > 0.85 * sum(sizes),
          f'of {sum(sizes)} bytes, {whole} are in full records')


def suites(link):
    found = {records.suite for records in link.answered}
    equal(len(found), 1, f'ciphers of the connections ({found})')
    return found.pop()


def cipher(kind, multifd):
    suite = suites(listen(4, kind, multifd))
    expected = {'psk': 'AES-128-GCM', 'x509': 'AES-256-GCM'}[kind]
    equal(suite, expected if fast() else 'CHACHA20-POLY1305', 'cipher')


def priority_counts(kind):
    equal(suites(listen(4, kind, priority=CHACHA)), 'CHACHA20-POLY1305',
          'cipher')


def shown(kind):
    """query-migrate and info migrate show what is on the wire."""
    link = listen(4, kind)
    suite = suites(link)
    for side in link.shown:
        equal(side, {'protocol': 'TLS1.3', 'cipher': suite}, 'shown')
    check(f'TLS: TLS1.3, {suite}' in link.said, link.said)


def goodbye(version, multifd):
    """Each connection ends with it, and has it once.  Nobody says it who would
    have to wait, as on one that is full: when the destination has answered,
    none is."""
    link = listen(version, 'psk', multifd, caps={'return-path': True})
    equal(len(link.sent), 3 if multifd else 1, 'connections')
    for records in link.sent:
        equal(records.sizes[-1], BYE, 'last record')
        equal(records.sizes.count(BYE), 1, 'goodbyes')


def nothing_without():
    """No session is shown where there is none, nor one of before."""
    with tempdir() as directory:
        where = make_psk(directory / 'tls')
        with Qemu(BUILT, '-S', *credentials('psk', where, 'client'),
                  machine=MACHINES[4]) as src:
            check('tls' not in src.qmp('query-migrate'), 'a session before')
            for creds in 'tls', '':
                args = credentials('psk', where, 'server')
                with Qemu(BUILT, *args, machine=MACHINES[4],
                          incoming='defer') as dst:
                    prepare((src, dst), {}, {'tls-creds': creds})
                    dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
                    migrate(src, dst.listens_at())
                    for vm in src, dst:
                        equal('tls' in vm.qmp('query-migrate'), bool(creds),
                              f'a session of {vm.name}')
                src.qmp('cont')
                src.qmp('stop')


def with_stock(source, destination, multifd):
    listen(3, 'psk', multifd, None, source, destination)


with Tap('TLS on the wire') as t:
    for version in MACHINES:
        for multifd in False, True:
            how = ', multifd' if multifd else ''
            t.case(f'version {version}{how}: records are full',
                   full_records, version, 'psk', multifd)
    for kind in KINDS:
        for multifd in False, True:
            how = ', multifd' if multifd else ''
            t.case(f'{kind}{how}: a fast cipher', cipher, kind, multifd)
        t.case(f'{kind}: the credential\'s own priority', priority_counts,
               kind)
    for version in MACHINES:
        for multifd in False, True:
            how = ', multifd' if multifd else ''
            t.case(f'version {version}{how}: sessions end properly', goodbye,
                   version, multifd)
    for kind in KINDS:
        t.case(f'{kind}: the session is shown', shown, kind)
    t.case('no session is shown where there is none', nothing_without)
    for multifd in False, True:
        how = ', multifd' if multifd else ''
        t.case(f'to the distribution\'s{how}', with_stock, BUILT, STOCK,
               multifd)
        t.case(f'from the distribution\'s{how}', with_stock, STOCK, BUILT,
               multifd)
