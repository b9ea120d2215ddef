# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that change their memory while it is sent: dirtier.c.

One does it at a rate at which the distribution's QEMU just gets to an end,
which is looked for first.  The other is as busy as it can be with little
memory, and counts what it gets done.
"""

import time

from bench import rounds
from harness.qemu import BUSY, wait_migration

MIB = 1 << 20
LARGEST = 1 << 30     # of the guests that change half of their memory
PAGE = 4096
COUNTER = 0x90000
FIRST = 64 * MIB        # what is below is the firmware's and the program's
BUSY = 16 * MIB         # changed by the one that counts
SETTLE = 1.0            # seconds until it is at work
DOWNTIME = 20           # ms; far less than all that is changed would take
LONGEST = 20            # seconds that a migration may take that gets to an end
# Pages in a second that are tried: from 128 MiB/s on, each half as much more
RATES = [32768 * 3 ** n // 2 ** n for n in range(12)]


def _arguments(program, first, size, rate):
    return ('-kernel', program, '-append',
            f'{first} {size // PAGE} {rate}')


def _count(vm):
    """Pages that the guest has changed so far."""
    return int(vm.hmp(f'xp /1gd 0x{COUNTER:x}').split()[-1])


def dirty(subject, image, program, channels, rate):
    """Half of the guest's memory is changed, so many pages in a second.
    Seconds and downtime, or None if there is no end."""
    size = image.stat().st_size
    with rounds.pair(subject, image, *_arguments(program, size // 2, size // 2,
                                                 rate)) as (src, dst):
        rounds.listen(src, dst, channels)
        src.set_params(downtime_limit=DOWNTIME)
        time.sleep(SETTLE)
        began = time.monotonic()
        src.qmp('migrate', uri=dst.listens_at())
        try:
            wait_migration(src, timeout=LONGEST / BUSY)
        except TimeoutError:
            return None
        took = time.monotonic() - began
        wait_migration(dst, timeout=rounds.TIMEOUT)
        info = src.qmp('query-migrate')
        rounds.check_version(info, subject)
        return {'seconds': took, 'downtime': info['downtime'] / 1000,
                'still': rounds.when(dst, 'RESUME') - rounds.when(src, 'STOP'),
                'rounds': info['ram']['dirty-sync-count'],
                'bytes': info['ram']['transferred']}


def just(subject, image, program, channels):
    """The highest of the rates at which that one gets to an end."""
    found = RATES[0]
    for rate in RATES:
        if not dirty(subject, image, program, channels, rate):
            break
        found = rate
    return found


def busy(subject, image, program, channels):
    """What the guest gets done in a second before the migration, and until it
    is stopped for it."""
    with rounds.pair(subject, image,
                     *_arguments(program, FIRST, BUSY, 0)) as (src, dst):
        rounds.listen(src, dst, channels)
        time.sleep(SETTLE)
        first, at_first = time.time(), _count(src)
        time.sleep(2 * SETTLE)
        began, at_begin = time.time(), _count(src)
        src.qmp('migrate', uri=dst.listens_at())
        wait_migration(src, timeout=rounds.TIMEOUT)
        ended, at_end = rounds.when(src, 'STOP'), _count(src)
        wait_migration(dst, timeout=rounds.TIMEOUT)
        info = src.qmp('query-migrate')
        rounds.check_version(info, subject)
        before = (at_begin - at_first) / (began - first)
        during = (at_end - at_begin) / (ended - began)
        return {'before': before, 'during': during, 'left': during / before,
                'seconds': ended - began, 'downtime': info['downtime'] / 1000}
