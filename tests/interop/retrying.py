# SPDX-License-Identifier: GPL-2.0-or-later
"""A destination that is tried again and again, until a stream is right.

Not a test: no TAP in here.
"""

import contextlib
import os
import socket

from harness.qemu import BUILT, crash_report, wait_for, wait_migration
from harness.tap import check, equal
from interop.loading import LOAD_TIMEOUT, destination, peaks, MARGINS
from witness import byte_identity

ENDED = 'failed', 'completed'
# Milliseconds after which a side gives up that waits for what never comes.
HASTE = 300, 3000, 30000


def put(path, stream):
    """Sends a stream to a socket; its reader may have enough before the end."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LOAD_TIMEOUT)
        sock.connect(str(path))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(stream)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass


def wait_failed(vm, timeout=LOAD_TIMEOUT):
    """Waits until an incoming migration has failed, and returns why."""
    def ended():
        info = vm.qmp('query-migrate')
        return info if info.get('status') in ENDED else None

    info = wait_for(ended, timeout, lambda: (
        f'{vm.name} does not fail: {vm.qmp("query-migrate")}; {vm.says()}'))
    equal(info['status'], 'failed', f'{vm.name}, status')
    equal(vm.status(), 'inmigrate', f'{vm.name}, run state')
    return info['error-desc']


class Patient:
    """A destination with one of machines.SETS plugged in, that is given one
    stream after the other, as the Loader of a snapshot is.

    stream   what a machine like it has sent, stirred
    """

    def __init__(self, machine, devices, directory):
        self.path = directory / f'{machine}-{devices}.socket'
        self.stream = byte_identity.sent(directory, BUILT, machine, devices)
        self.vm = destination(machine, devices)
        self._heard = 0
        self._peaks = None

    def load(self, stream):
        """Loads a stream that is not right, and returns why it was refused,
        as one can see who asks over QMP and who looks at stderr."""
        self.vm.qmp('migrate-incoming', uri=f'unix:{self.path}')
        put(self.path, stream)
        why = wait_failed(self.vm)
        said = self.vm.stderr()
        wrote, self._heard = said[self._heard:], len(said)
        crash = crash_report(None, wrote)
        check(not crash, f'{crash}: {wrote}')
        check(why in wrote, f'QMP says {why!r}, and stderr {wrote!r}')
        self._peaks = self._peaks or peaks(self.vm)
        return wrote.strip()

    def memory(self):
        """Raises when loads have taken more memory than they may."""
        for what, now in peaks(self.vm).items():
            check(now <= self._peaks[what] + MARGINS[what],
                  f'{what} was {self._peaks[what]} KiB after the first try, '
                  f'and {now} KiB after the last')

    def take(self):
        """Loads the stream that is right, and runs the machine a moment."""
        self.vm.qmp('migrate-incoming', uri=f'unix:{self.path}')
        put(self.path, self.stream)
        wait_migration(self.vm)
        self.vm.qmp('cont')
        self.vm.wait_status('running')
        self.vm.qmp('stop')

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self.vm.__exit__(*error)


def hastily(run):
    """Runs something with one of HASTE after the other, until it goes as it
    should: it has to be time enough to get as far as that, and how much that
    is depends on this machine."""
    for timeout in HASTE[:-1]:
        try:
            return run(timeout)
        except (AssertionError, OSError) as reason:
            print(f'# with {timeout} ms: {reason}')
    return run(HASTE[-1])


def again(vm, uri='tcp:127.0.0.1:0'):
    """Starts another try, and returns where it listens."""
    vm.qmp('migrate-incoming', uri=uri)
    return uri if uri.startswith(('exec:', 'fd:')) else vm.listens_at()


def resources(vm):
    """The threads and file descriptors that a QEMU has."""
    return {what: len(os.listdir(f'/proc/{vm.pid}/{what}'))
            for what in ('task', 'fd')}


def wait_resources(vm, wanted):
    """Waits until it has no more of them than it had."""
    wait_for(lambda: all(now <= wanted[what]
                         for what, now in resources(vm).items()), 30,
             lambda: f'{vm.name} has {resources(vm)}, and had {wanted}')
