# SPDX-License-Identifier: GPL-2.0-or-later
"""One measured migration of a stopped guest over a loopback connection.

The source's memory is a file in /dev/shm that was filled beforehand, and both
sides have touched theirs before the clock runs. It runs until both have
completed.
"""

import collections
import os
import pathlib
import subprocess
import time

from harness.qemu import Qemu

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


def _check_version(info, subject):
    version = info.get('stream', {}).get('version', 3)
    if version != subject.version:
        raise RuntimeError(f'{subject.name} spoke version {version}, '
                           f'not {subject.version}')


def migration(subject, image, channels):
    """Migrates once: seconds, CPU seconds per GiB, bytes.
    channels: of multifd, or 0 for none."""
    size = image.stat().st_size
    common = ['-S', '-m', f'{size >> 20}M']
    machine = f'{subject.machine},memory-backend=ram'
    with Qemu(subject.binary, *common, '-object',
              f'memory-backend-file,id=ram,size={size},mem-path={image},'
              'share=on,prealloc=on', machine=machine) as source, \
         Qemu(subject.binary, *common, '-object',
              f'memory-backend-ram,id=ram,size={size},prealloc=on,'
              f'prealloc-threads={os.cpu_count()}',
              machine=machine, incoming='defer') as destination:
        for vm in source, destination:
            vm.set_caps(events=True, multifd=channels > 0)
            if channels:
                vm.set_params(multifd_channels=channels)
            vm.set_params(max_bandwidth=NO_LIMIT)
        destination.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        before = [cpu_seconds(vm.pid) for vm in (source, destination)]
        began = time.monotonic()
        source.qmp('migrate', uri=destination.listens_at())
        _completed(source)
        sent = time.monotonic() - began
        _completed(destination)
        took = time.monotonic() - began
        after = [cpu_seconds(vm.pid) for vm in (source, destination)]
        info = source.qmp('query-migrate')
        _check_version(info, subject)
        return {
            'seconds': took,
            'sent': sent,
            'total_time': info['total-time'] / 1000,
            'downtime': info['downtime'] / 1000,
            'bytes': info['ram']['transferred'],
            'source_cpu': (after[0] - before[0]) / size * GIB,
            'destination_cpu': (after[1] - before[1]) / size * GIB,
        }


def limit(program, image):
    """The same bytes with nothing around them."""
    out = subprocess.run([program, image], check=True, timeout=TIMEOUT,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         text=True).stdout
    seconds, sender, receiver, size = map(float, out.split())
    return {
        'seconds': seconds,
        'bytes': int(size),
        'source_cpu': sender / size * GIB,
        'destination_cpu': receiver / size * GIB,
    }
