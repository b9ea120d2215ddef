#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""query-migrate tells how far a migration has come and what holds it back, and
so do HMP's info migrate and migrate.
"""

import contextlib
import os
import re
import signal
import socket

from harness.qemu import BUILT, Qemu, tempdir, wait_for, wait_migration
from harness.tap import Tap, check, equal

V3, V4 = 'pc-q35-7.2', 'pc-q35-7.2-v4'
SIZE = 64 << 20
NO_LIMIT = 1 << 40
TIMEOUT = 60
BAR = re.compile(r'\[#* *\] +(\d+)% (\S+ \S+)/s(, \d+ s left)?'
                 r'(, limited by [a-zA-Z \']+)?')


@contextlib.contextmanager
def pair(machine, uri='tcp:127.0.0.1:0', channels=0, args=(), pass_fds=()):
    """A stopped source with memory that does not compress, and a destination
    that listens.  args, pass_fds: of the source"""
    with tempdir() as directory:
        image = directory / 'memory'
        image.write_bytes(os.urandom(SIZE))
        common = '-S', '-m', f'{SIZE >> 20}M'
        uri = uri.format(directory)
        with Qemu(BUILT, *common, *args, '-object',
                  f'memory-backend-file,id=ram,size={SIZE},mem-path={image}',
                  machine=f'{machine},memory-backend=ram',
                  pass_fds=pass_fds) as src, \
             Qemu(BUILT, *common, '-object',
                  f'memory-backend-ram,id=ram,size={SIZE}',
                  machine=f'{machine},memory-backend=ram',
                  incoming='defer') as dst:
            for vm in src, dst:
                vm.set_caps(multifd=channels > 0)
                if channels:
                    vm.set_params(multifd_channels=channels)
            dst.qmp('migrate-incoming', uri=uri)
            yield src, dst, dst.listens_at()


def progress_of(vm):
    return vm.qmp('query-migrate').get('progress', {})


def wait_held(src, by):
    """Waits until that holds it back; all that is shown then."""
    return wait_for(lambda: (found := progress_of(src)).get('bottleneck') ==
                    by and found, TIMEOUT,
                    lambda: f'it is not {by}: {src.qmp("query-migrate")}')


def goes_on(src, dst):
    src.set_params(max_bandwidth=NO_LIMIT)
    wait_migration(src)
    wait_migration(dst)
    check('progress' not in src.qmp('query-migrate'), 'it has ended')


def limited(machine, channels=0):
    """A limit that is far below what any machine does is what it says."""
    with pair(machine, channels=channels) as (src, dst, uri):
        limit = 2 << 20
        src.set_params(max_bandwidth=limit)
        src.qmp('migrate', uri=uri)
        found = wait_held(src, 'bandwidth-limit')
        check(0.9 * limit <= found['throughput'] < 4 * limit, f'{found}')
        check(found['percent'] < 100 and found['expected-end'] > 1000,
              f'{found}')
        check(found['expected-downtime'] <= 300, f'{found}')
        equal(found['dirty-rate'], 0, 'of a stopped guest')
        check(found['rounds'] >= 1, f'{found}')
        # It gets there, whatever holds it up for a moment
        later = wait_for(
            lambda: (one := progress_of(src))['percent'] > found['percent'] and
            one.get('expected-end', NO_LIMIT) < found['expected-end'] and one,
            TIMEOUT, lambda: f'{found}, {progress_of(src)}')
        if channels:
            names = [one['name'] for one in later['channels']]
            check(len(set(names)) == len(names) >= channels, f'{names}')
        sent = sum(one['bytes'] for one in later['channels'])
        check(0 < sent < SIZE, f'{later}')
        goes_on(src, dst)


def destination_stands(machine, channels=0, uri='tcp:127.0.0.1:0'):
    """A destination that does not read is told from a slow network."""
    with pair(machine, uri, channels) as (src, dst, uri):
        src.set_params(max_bandwidth=2 << 20)
        src.qmp('migrate', uri=uri)
        wait_held(src, 'bandwidth-limit')
        os.kill(dst.pid, signal.SIGSTOP)
        try:
            src.set_params(max_bandwidth=NO_LIMIT)
            wait_held(src, 'destination-cpu')
            wait_for(lambda: all(one['waiting'] > 50 for one in
                                 progress_of(src)['channels']), TIMEOUT,
                     lambda: f'nobody waits: {progress_of(src)}')
        finally:
            os.kill(dst.pid, signal.SIGCONT)
        goes_on(src, dst)


class Terminal:
    """What a person sees at the human monitor."""

    def __init__(self):
        self.ours, theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs = theirs
        self.args = ('-chardev', f'socket,id=tty,fd={theirs.fileno()}',
                     '-mon', 'chardev=tty,mode=readline')
        self.text = ''

    def types(self, line):
        self.ours.sendall(line.encode() + b'\n')

    def shows(self, pattern, timeout=TIMEOUT):
        def found():
            with contextlib.suppress(BlockingIOError):
                self.text += self.ours.recv(1 << 16).decode()
            return re.search(pattern, self.text)
        return wait_for(found, timeout,
                        lambda: f'no {pattern!r} in {self.text!r}')


def bar(machine):
    """One line that is redrawn, and one more when all is through."""
    tty = Terminal()
    with pair(machine, args=tty.args,
              pass_fds=[tty.theirs.fileno()]) as (src, _, uri):
        src.set_params(max_bandwidth=4 << 20)
        tty.types(f'migrate {uri}')
        drawn = tty.shows('\r' + BAR.pattern + ' *\r')
        check('\x1b[' not in drawn[0], 'escapes')
        tty.shows(r"limited by its limit")
        src.set_params(max_bandwidth=NO_LIMIT)
        tty.shows(r'\rcompleted: .* s, downtime \d+ ms *\r')
        tty.types('info status')
        tty.shows('VM status: paused')


LINES = (r'progress: \d+%, round 1', r'sent now: \S+ \S+/s',
         r'dirtied by the guest: 0 B/s', r'expected end: in \d+ ms',
         r'guest would stand still: \d+ ms', r'bottleneck: bandwidth-limit',
         r'channel main: .*/s, \d+ pages, \d+ of zeros, \d+% CPU, '
         r'\d+% waiting')


def missing(text):
    return [line for line in LINES if not re.search(f'^{line}$', text, re.M)]


def told(machine):
    """info migrate prints what query-migrate has."""
    with pair(machine) as (src, dst, uri):
        src.set_params(max_bandwidth=2 << 20)
        src.qmp('migrate', uri=uri)
        wait_held(src, 'bandwidth-limit')
        # All at once, as some of it is so only most of the time
        wait_for(lambda: not missing(src.hmp('info migrate')), TIMEOUT,
                 lambda: f'no {missing(src.hmp("info migrate"))} in '
                         f'{src.hmp("info migrate")}')
        goes_on(src, dst)


with Tap('what a migration says of its progress') as t:
    for version, machine in (3, V3), (4, V4):
        t.case(f'version {version}, limited', limited, machine)
        t.case(f'version {version}, a destination that stands',
               destination_stands, machine)
        t.case(f'version {version}, a destination that stands, unix',
               destination_stands, machine, 0, 'unix:{}/socket')
        t.case(f'version {version}, a line on the monitor', bar, machine)
        t.case(f'version {version}, info migrate', told, machine)
    t.case('version 4, multifd, limited', limited, V4, 2)
    t.case('version 4, multifd, a destination that stands',
           destination_stands, V4, 2)
