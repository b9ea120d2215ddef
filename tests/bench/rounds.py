# SPDX-License-Identifier: GPL-2.0-or-later
"""One measured migration over a loopback connection.

The source's memory is a file in /dev/shm that was filled beforehand, and both
sides have touched theirs before the clock runs. It runs until both have
completed.
"""

import collections
import contextlib
import os
import pathlib
import subprocess
import time

from harness.qemu import Qemu
from interop.delay import Delay
from interop.tls import credentials, make_psk

TICK = os.sysconf('SC_CLK_TCK')
GIB = 1 << 30
TIMEOUT = 300

# Nothing that QEMU would slow down for.
NO_LIMIT = 1 << 40

# name: what tables call it; version: of the stream, which is checked
Subject = collections.namedtuple('Subject', 'name binary machine version')


def cpu_seconds(pid):
    """The CPU time that all threads of a process have used, ended ones too."""
    stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    fields = stat.rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def fill(path, size, random):
    """Makes the file that is a source's memory."""
    step = min(size, 256 << 20)
    data = os.urandom(step) if random else bytes(step)
    with open(path, 'wb') as file:
        for _ in range(size // step):
            file.write(data)


def _completed(vm):
    """Waits for the end of a migration by its events, which cost nothing."""
    while True:
        status = vm.wait_event('MIGRATION', TIMEOUT)['data']['status']
        if status == 'completed':
            return
        if status in ('failed', 'cancelled'):
            raise RuntimeError(f'the migration has {status}; {vm.stderr()}')


def check_version(info, subject):
    version = info.get('stream', {}).get('version', 3)
    if version != subject.version:
        raise RuntimeError(f'{subject.name} spoke version {version}, '
                           f'not {subject.version}')


@contextlib.contextmanager
def pair(subject, image, *args, creds=((), ())):
    """A source with that memory, and a destination for it.  creds: arguments
    of each."""
    size = image.stat().st_size
    common = ['-m', f'{size >> 20}M', *args]
    machine = f'{subject.machine},memory-backend=ram'
    with Qemu(subject.binary, *common, *creds[0], '-object',
              f'memory-backend-file,id=ram,size={size},mem-path={image},'
              'share=on,prealloc=on', machine=machine) as source, \
         Qemu(subject.binary, *common, *creds[1], '-object',
              f'memory-backend-ram,id=ram,size={size},prealloc=on,'
              f'prealloc-threads={os.cpu_count()}',
              machine=machine, incoming='defer') as destination:
        for vm in source, destination:
            vm.set_caps(events=True)
            vm.set_params(max_bandwidth=NO_LIMIT)
        yield source, destination


def listen(source, destination, channels, creds=None):
    """Sets both up, and lets the destination listen.  channels: of multifd, or
    0 for none; creds: if there is to be TLS"""
    for vm in source, destination:
        vm.set_caps(multifd=channels > 0)
        if channels:
            vm.set_params(multifd_channels=channels)
        if creds:
            vm.set_params(tls_creds='tls')
    destination.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')


def psk_credentials(directory, priority):
    """Arguments of both sides for TLS with a key that they share.  priority:
    GnuTLS's, None for QEMU's own."""
    if not directory.exists():
        make_psk(directory)
    found = [credentials('psk', directory, side)
             for side in ('client', 'server')]
    for option, text in found:
        yield option, f'{text},priority={priority}' if priority else text


def migration(subject, image, channels, creds=None):
    """Migrates a stopped guest once: seconds, CPU seconds per GiB, bytes.
    channels: of multifd, or 0 for none; creds: of both sides, for TLS."""
    size = image.stat().st_size
    with pair(subject, image, '-S',
               creds=creds or ((), ())) as (source, destination):
        listen(source, destination, channels, creds)
        before = [cpu_seconds(vm.pid) for vm in (source, destination)]
        began = time.monotonic()
        source.qmp('migrate', uri=destination.listens_at())
        _completed(source)
        sent = time.monotonic() - began
        _completed(destination)
        took = time.monotonic() - began
        after = [cpu_seconds(vm.pid) for vm in (source, destination)]
        info = source.qmp('query-migrate')
        check_version(info, subject)
        return {
            'seconds': took,
            'memory': size,
            'sent': sent,
            'total_time': info['total-time'] / 1000,
            'downtime': info['downtime'] / 1000,
            'bytes': info['ram']['transferred'],
            'source_cpu': (after[0] - before[0]) / size * GIB,
            'destination_cpu': (after[1] - before[1]) / size * GIB,
        }


def when(vm, event):
    """The time at which an event happened, in seconds."""
    stamp = vm.wait_event(event, TIMEOUT)['timestamp']
    return stamp['seconds'] + stamp['microseconds'] / 1e6


def journey(subject, image, delay):
    """Migrates a guest that runs, but has nothing to do, to a destination that
    everything takes so many seconds to, and back: seconds, and those in which
    nobody ran it."""
    with pair(subject, image) as (source, destination):
        # What is left when it stops is the same with all.
        source.set_params(downtime_limit=10)
        destination.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        with Delay(destination.listens_at(), delay) as link:
            began = time.monotonic()
            source.qmp('migrate', uri=link.uri)
            _completed(source)
            _completed(destination)
            took = time.monotonic() - began
            info = source.qmp('query-migrate')
            check_version(info, subject)
            return {
                'seconds': took,
                'still': when(destination, 'RESUME') - when(source, 'STOP'),
                'reported': info['downtime'] / 1000,
            }


def limit(program, image, connections, *how):
    """The same bytes with nothing around them, or little."""
    out = subprocess.run([program, image, str(connections), *how], check=True,
                         timeout=TIMEOUT, stdin=subprocess.DEVNULL, text=True,
                         stdout=subprocess.PIPE).stdout
    seconds, sender, receiver, size = map(float, out.split())
    return {
        'seconds': seconds,
        'bytes': int(size),
        'source_cpu': sender / size * GIB,
        'destination_cpu': receiver / size * GIB,
    }
