#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage to a stream that is still being sent: the destination says what it
found and ends, the source says that the migration has failed and runs on, and
can migrate again.
"""

import re
import struct

from harness.guest import make_disk, run_guest
from harness.qemu import (BUILT, migrate, start_migration, tempdir, wait_for,
                          wait_migration)
from harness.tap import Tap, check, equal
from interop.live import linux_pair
from interop.proxy import (Proxy, at_content, at_head, at_position, no_more,
                           turned, without)

MACHINE, LEGACY = 'pc-q35-7.2-v4', 'pc-q35-7.2'
MIB = 1 << 20
# Slow enough that the source is far from its end when the damage is found.
SLOW, FAST = 20 * MIB, 1 << 30
POSITION = 12 * MIB + 345
# A packet, and what the proxy passes on at once
RECORD_MAX = (1 << 20) + (64 << 10) + 28 + (64 << 10)
RETURN_PATH = {'return-path': True}


class Scene:
    """One guest, which outlives every attempt on its migration."""

    def __init__(self, directory):
        self.directory = directory
        self.disk = make_disk(directory / 'disk.qcow2')
        self.src = run_guest(BUILT, self.disk, directory / 'source',
                             machine=MACHINE)
        self.count = 0

    def destination(self):
        self.count += 1
        return run_guest(BUILT, self.disk,
                         self.directory / f'destination{self.count}',
                         machine=MACHINE, incoming='tcp:127.0.0.1:0',
                         name=f'destination{self.count}')

    def survives(self):
        """The source failed, said so, and its guest has gone on."""
        info = wait_migration(self.src, 'failed')
        check(info.get('error-desc'), f'no reason for the failure: {info}')
        self.src.wait_status('running')
        self.src.console.wait_beats(3)
        self.src.console.wait_generations(1)

    def damaged(self, damage):
        with self.destination() as dst, \
             Proxy(dst.listens_at(), damage) as proxy:
            start_migration(self.src, proxy.uri,
                            params={'max_bandwidth': SLOW})
            check(proxy.done.wait(30), 'nothing went through the proxy')
            self.explained(dst)
            self.survives()

    @staticmethod
    def explained(dst):
        equal(dst.wait_exit(30), 1, 'exit status of the destination')
        said = dst.stderr()
        place = re.search(r"section 'ram' \(instance 0\), record at offset "
                          r'(\d+): .*expected .*got ', said)
        check(place, f'the destination does not say what it found: {said}')
        offset = int(place.group(1))
        check(POSITION - RECORD_MAX < offset <= POSITION + RECORD_MAX,
              f'found at {offset}, damaged at {POSITION}')

    def damaged_backwards(self):
        with self.destination() as dst, \
             Proxy(dst.listens_at(), at_position(3, turned), True) as proxy:
            start_migration(self.src, proxy.uri, RETURN_PATH,
                            {'max_bandwidth': SLOW})
            check(proxy.done.wait(30), 'nothing came back')
            self.survives()

    def killed(self):
        with self.destination() as dst:
            start_migration(self.src, dst.listens_at(),
                            params={'max_bandwidth': SLOW})
            wait_for(lambda: self.src.qmp('query-migrate').get(
                'ram', {}).get('transferred', 0) > POSITION, 30,
                lambda: f'{self.src.qmp("query-migrate")}')
            dst.kill()
            self.survives()

    def succeeds(self):
        with self.destination() as dst:
            migrate(self.src, dst.listens_at(), caps=RETURN_PATH,
                    params={'max_bandwidth': FAST})
            dst.console.wait_generations(2)


def lasting_words():
    """A word out of some of the pages that the guest never rewrites, and that
    are not zeros (memcheck.c: the last quarter of 4096, generation 0)."""
    for page in range(3073, 4096, 32):
        word = page * 0xc2b2ae3d27d4eb4f ^ 100 * 0x165667b19e3779f9
        word &= (1 << 64) - 1
        yield struct.pack('<Q', word ^ word >> 29)


def unnoticed():
    """What all this is for, and proof that the guest's own check works: of
    version 3 the same bit gets through, and it is the guest who finds it."""
    with linux_pair(BUILT, BUILT, LEGACY) as (src, dst, uri), \
         Proxy(uri, at_content(list(lasting_words()), turned)) as proxy:
        migrate(src, proxy.uri)
        check(proxy.done.is_set(), 'the guest\'s memory did not come by')
        wait_for(lambda: 'GUEST MEMORY DAMAGED' in dst.console.text(), 30,
                 lambda: 'the guest has not noticed')


def main(t):
    with tempdir() as directory:
        scene = Scene(directory)
        with scene.src:
            scene.src.console.wait_booted()
            t.case('a bit turned on the way', scene.damaged,
                   at_head(POSITION, turned))
            t.case('a byte lost on the way', scene.damaged,
                   at_position(POSITION, without))
            t.case('the connection ends', scene.damaged,
                   at_position(POSITION, no_more))
            t.case('the destination is killed', scene.killed)
            t.case('a bit turned on the return path', scene.damaged_backwards)
            t.case('then the same guest migrates', scene.succeeds)
    t.case('in version 3 it is the guest who finds it', unnoticed)


with Tap('damage to a stream that is still being sent') as tap:
    main(tap)
