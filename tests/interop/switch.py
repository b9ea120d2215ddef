#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest keeps rewriting and checking its memory while it is sent, round by
round: at the switch the memory of both sides is equal to the byte, and the
guest finds it as it left it, over each transport and at several rates.

ROUNDS in the environment says how many rounds each of them takes, at least, in
as many migrations as that needs; without it there is one of each.
"""

import contextlib
import functools
import hashlib
import os
import socket
import subprocess
import threading

from harness import network
from harness.qemu import (BUILT, ROOT, Qemu, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.delay import Delay
from interop.live import TLS
from interop.meddling import Meddler
from interop.scene import untouched
from interop.tls import credentials, make_psk, make_x509

PATTERN = os.environ.get('GUEST_PATTERN',
                         f'{ROOT}/build/project/tests/guest/pattern')
MACHINE = 'pc-q35-7.2-v4'
MIB = 1 << 20
MEMORY, FIRST = 48 * MIB, 16 * MIB
PAGES, PAGE = 4096, 4096
COUNTERS = 0x90000
SLOWEST = 300
RATES = SLOWEST, 3000, 0        # pages in a second; 0: as many as it can
ASKED = os.environ.get('ROUNDS')
ROUNDS = int(ASKED or 20)
FEW = max(2, ROUNDS // 5)       # where a round takes long
LINK = '400mbit'
# Less than the guest always has to send, in DOWNTIME milliseconds
BANDWIDTH, DOWNTIME = 100 * MIB, 1
ENDS = {'downtime-limit': 30000, 'max-bandwidth': 1 << 40}
TIMEOUT = 120


def counters(vm):
    """Pages that the guest has rewritten, words that it found wrong, and where
    the first of them was."""
    words = [int(word) & 0xffffffff for line in
             vm.hmp(f'xp /4dw {COUNTERS:#x}').split('\n') if ':' in line
             for word in line.split(':')[1].split()]
    return words[0] | words[1] << 32, words[2], words[3]


def intact(vm):
    pages, errors, where = counters(vm)
    equal(errors, 0, f'{vm.name}: words that the guest found wrong, of which '
                     f'the first is at {where:#x}')
    return pages


def checked(vm):
    """Waits until the guest has looked at all of its memory."""
    began = intact(vm)
    wait_for(lambda: intact(vm) >= began + PAGES, TIMEOUT,
             lambda: f'{vm.name}: the guest stands still; {vm.says()}')


def digest(vm, path):
    vm.qmp('pmemsave', val=0, size=MEMORY, filename=str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def syncs(vm):
    info = vm.qmp('query-migrate')
    check(info['status'] not in ('failed', 'cancelled'), f'{info}')
    return info.get('ram', {}).get('dirty-sync-count', 0), info['status']


@contextlib.contextmanager
def pair(directory, rate, make=None, caps=None, params=None, paused=True,
         options=()):
    """A guest at work, and a destination."""
    sides = {'client': [], 'server': []}
    params = {'downtime-limit': DOWNTIME, 'max-bandwidth': BANDWIDTH,
              **(params or {})}
    if make:
        where = make(directory / 'tls')
        kind = 'psk' if make is make_psk else 'x509'
        sides = {side: credentials(kind, where, side) for side in sides}
        params |= TLS
    common = ['-m', f'{MEMORY // MIB}M', *options, '-kernel', PATTERN,
              '-append', f'{FIRST} {PAGES} {rate}']
    with Qemu(BUILT, *common, *sides['client'], machine=MACHINE) as src, \
         Qemu(BUILT, *common, *sides['server'], *['-S'] * paused,
              machine=MACHINE, incoming='defer') as dst:
        for vm in src, dst:
            vm.set_caps(return_path=True, **(caps or {}))
            vm.set_params(**params)
        wait_for(lambda: intact(src) > 0, TIMEOUT,
                 lambda: f'the guest does not begin; {src.says()}')
        yield src, dst


def goes_round(src, rounds):
    """Waits until what has changed was sent that often.  There is always more
    to send than DOWNTIME allows; but a guest that gets no time on a processor
    changes nothing, and then it is the end."""
    wait_for(lambda: syncs(src)[0] >= rounds or
             syncs(src)[1] == 'completed', TIMEOUT,
             lambda: f'{src.qmp("query-migrate")}')


def same(src, dst, directory):
    check(digest(src, directory / 'here') == digest(dst, directory / 'there'),
          'the memory of both sides is not the same')


def travels(rate, rounds, uri='tcp:127.0.0.1:0', seconds=0, **options):
    with tempdir() as directory, pair(directory, rate, **options) as (src,
                                                                      dst):
        dst.qmp('migrate-incoming', uri=uri.format(directory))
        to = dst.listens_at()
        with Delay(to, seconds) if seconds else contextlib.nullcontext() as way:
            start_migration(src, way.uri if way else to)
            goes_round(src, rounds)
            src.set_params(**ENDS)
            info = wait_migration(src, timeout=TIMEOUT)
            wait_migration(dst, timeout=TIMEOUT)
        same(src, dst, directory)
        equal(info['ram']['healed'], 0, 'healed')
        dst.qmp('cont')
        if rate != SLOWEST:
            checked(dst)        # the slowest would take too long for that
        intact(dst)
        return info['ram']['dirty-sync-count']


def postcopy(rate, rounds, paused=False, **options):
    with tempdir() as directory, pair(
            directory, rate, caps={'postcopy-ram': True}, paused=paused,
            **options) as (src, dst):
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        start_migration(src, dst.listens_at())
        goes_round(src, rounds)
        src.qmp('migrate-start-postcopy')
        info = wait_migration(src, timeout=TIMEOUT)
        if paused:
            wait_migration(dst, timeout=TIMEOUT)
            same(src, dst, directory)
            dst.qmp('cont')
        dst.wait_status('running')
        checked(dst)
        return info['ram']['dirty-sync-count']


def device(directory, vm):
    """What -qtest writes, as a device would."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(directory / 'qtest'))
        sock.sendall(f'write {FIRST:#x} 8 0x1122334455667788\n'.encode())
        check(sock.recv(100).startswith(b'OK'), 'nothing was written')
    equal(vm.qmp('query-status')['status'], 'finish-migrate', 'the source is')


def devices_write(**caps):
    """While the source waits for a verdict, with its guest stopped."""
    memory = ['-m', f'{MEMORY // MIB}M']
    written = threading.Event()

    def answer(unit):
        if unit.name == 'verdict':
            written.wait(TIMEOUT)
        return unit.data
    with tempdir() as directory, \
         Qemu(BUILT, *memory, '-qtest',
              f'unix:{directory}/qtest,server=on,wait=off', '-qtest-log',
              '/dev/null', machine=MACHINE) as src, \
         Qemu(BUILT, *memory, '-S', machine=MACHINE, incoming='defer') as dst:
        for vm in src, dst:
            vm.set_caps(return_path=True, **caps)
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        with Meddler(dst.listens_at(), untouched, answer=answer) as way:
            start_migration(src, way.uri)
            wait_for(lambda: src.qmp('query-status')['status'] ==
                     'finish-migrate', TIMEOUT, lambda: src.says())
            device(directory, src)
            written.set()
            wait_migration(src, timeout=TIMEOUT)
            wait_migration(dst, timeout=TIMEOUT)
        check(digest(src, directory / 'here') ==
              digest(dst, directory / 'there'),
              'what was written last is not at the destination')


MULTIFD = {'multifd': True}
WAYS = {
    'tcp': {},
    'unix': {'uri': 'unix:{}/socket'},
    'TLS, PSK': {'make': make_psk},
    'throttled': {'params': {'max-bandwidth': 48 * MIB}, 'rounds': FEW},
    'delayed': {'seconds': 0.02, 'rounds': FEW},
    'multifd, tcp': {'caps': MULTIFD},
    'multifd, unix': {'caps': MULTIFD, 'uri': 'unix:{}/socket'},
    'multifd, TLS, PSK': {'caps': MULTIFD, 'make': make_psk},
    'multifd, TLS, x509': {'caps': MULTIFD, 'make': make_x509},
    'multifd, zlib': {'caps': MULTIFD,
                      'params': {'multifd-compression': 'zlib'}},
    'multifd, zstd': {'caps': MULTIFD,
                      'params': {'multifd-compression': 'zstd'}},
    'multifd, throttled': {'caps': MULTIFD, 'rounds': FEW,
                           'params': {'max-bandwidth': 48 * MIB}},
    'multifd, delayed': {'caps': MULTIFD, 'seconds': 0.02, 'rounds': FEW},
    'multifd, 8 channels': {'caps': MULTIFD,
                            'params': {'multifd-channels': 8}},
}
LINKS = {
    'tcp': {'rounds': FEW},
    'multifd, tcp': {'caps': MULTIFD, 'rounds': FEW},
    'multifd, zstd': {'caps': MULTIFD, 'rounds': FEW,
                      'params': {'multifd-compression': 'zstd'}},
}

class Rounds:
    """Counts them, and the migrations that they took."""

    def __init__(self, tap):
        self.tap = tap
        self.rounds = self.migrations = 0

    def case(self, name, function, rate, rounds=ROUNDS, **options):
        self.tap.case(f'{name}, {rate or "all"} pages in a second', self.go,
                      function, rate, rounds, options)

    def go(self, function, rate, rounds, options):
        seen = tries = 0
        while not seen or (ASKED and seen < rounds):
            seen += function(rate, rounds - seen, **options)
            tries += 1
        self.tap.diag(f'  {seen} rounds in {tries} migrations')
        self.rounds += seen
        self.migrations += tries


def over_a_link(rounds):
    """A link that drops what is too much for it, as real ones do."""
    with contextlib.ExitStack() as exits:
        try:
            exits.enter_context(network.limited(LINK))
        except (OSError, subprocess.SubprocessError) as error:
            tap.skip(f'a link of {LINK}', error)
            return
        for name, way in LINKS.items():
            rounds.case(f'{name}, a link of {LINK}', travels, RATES[2], **way)


with Tap('memory that changes while it is sent') as tap:
    all_rounds = Rounds(tap)
    for number, (name, way) in enumerate(WAYS.items()):
        # The fastest over each of them, and another one in turn
        for pages in RATES[number % 2], RATES[2]:
            all_rounds.case(name, travels, pages, **way)
    over_a_link(all_rounds)
    for pages in RATES[1:]:
        all_rounds.case('postcopy', postcopy, pages)
    all_rounds.case('postcopy to a machine that is paused', postcopy, RATES[2],
                    paused=True)
    tap.case('a device writes when the guest has stopped', devices_write)
    tap.case('multifd: a device writes when the guest has stopped',
             functools.partial(devices_write, **MULTIFD))
    tap.diag(f'{all_rounds.rounds} rounds in {all_rounds.migrations} '
             'migrations')
