# SPDX-License-Identifier: GPL-2.0-or-later
"""What it costs that the machine travels, and how long one takes to be made.

A stopped guest with 64 devices and little memory is migrated over tcp.  What is
before its memory is from the beginning of the migration to the first section;
version 3 says nothing there, version 4 tells machine and facts and waits for an
answer.  The parts are what QEMU's own trace events say.

Then the same machine is started to load that guest from a file: from its own
command line, and as '-M incoming'.
"""

import re
import time

from harness.qemu import Qemu, migrate, wait_migration

MEMORY = 16 << 20
KINDS = 'virtio-net-pci', 'virtio-scsi-pci', 'virtio-serial-pci', \
    'virtio-rng-pci'
COUNT = 64
BEGIN, FIRST = ('migrate_set_state', 'setup'), ('savevm_state_setup', '')
PARTS = 'machine_travel_describe', 'machine_travel_arrived', \
    'machine_travel_compare'


def devices():
    """The -device options; functions of as few slots as will do."""
    args = ['-m', f'{MEMORY >> 20}M']
    for number in range(COUNT):
        kind = KINDS[number % len(KINDS)]
        args += ['-device', f'{kind},multifunction=on,'
                            f'addr={4 + number // 8:x}.{number % 8}']
    return args


def _traced(log, *events):
    args = ['-S', '-msg', 'timestamp=on', '-D', log]
    for event in events:
        args += ['-trace', event]
    return args


def _when(log, event, word):
    return next(float(match[1]) for match in
                re.finditer(rf'@(\d+\.\d+):{event} (.*)', log.read_text())
                if word in match[2])


def _part(log, event):
    """Seconds and bytes, or whatever it counts, of the last one."""
    found = re.findall(rf':{event} (\d+).* (\d+) us', log.read_text())
    return int(found[-1][1]) / 1e6, int(found[-1][0])


def before_memory(subject, work):
    """One migration: seconds, and in version 4 the parts."""
    here, there = work / 'here.log', work / 'there.log'
    for log in here, there:
        log.unlink(missing_ok=True)
    with Qemu(subject.binary, *devices(),
              *_traced(here, BEGIN[0], FIRST[0], PARTS[0]),
              machine=subject.machine) as src, \
         Qemu(subject.binary, *devices(), *_traced(there, *PARTS[1:]),
              machine=subject.machine, incoming='tcp:127.0.0.1:0') as dst:
        migrate(src, dst.listens_at())
        wait_migration(dst)
    found = {'before': _when(here, *FIRST) - _when(here, *BEGIN)}
    if subject.version == 4:
        found['describe'], found['bytes'] = _part(here, PARTS[0])
        found['read'], _ = _part(there, PARTS[1])
        found['compare'], _ = _part(there, PARTS[2])
        found['machine'] = sum(found[part] for part in
                               ('describe', 'read', 'compare'))
    return found


def record(subject, work):
    """The stream of such a machine, in a file."""
    file = work / 'machine'
    with Qemu(subject.binary, '-S', *devices(), machine=subject.machine) as src:
        migrate(src, f'file:{file}')
    return file


def _ready(*args, **options):
    """Seconds from nothing until the guest is there."""
    began = time.monotonic()
    with Qemu(*args, **options) as vm:
        wait_migration(vm)
        return time.monotonic() - began


def ready(subject, file):
    """Seconds from the command line, and from the stream."""
    return {
        'given': _ready(subject.binary, '-S', *devices(),
                        machine=subject.machine, incoming=f'file:{file}'),
        'adopted': _ready(subject.binary, '-S', machine='incoming',
                          incoming=f'file:{file}'),
    }
