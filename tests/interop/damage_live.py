#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damage to a stream that is still being sent: the destination says what it
found and ends, the source says that the migration has failed and runs on, and
can migrate again.
"""

import re

from harness.guest import make_disk, run_guest
from harness.qemu import (BUILT, migrate, start_migration, tempdir, wait_for,
                          wait_migration)
from harness.tap import Tap, check, equal
from interop.proxy import Proxy, cut, drop, flip

MACHINE = 'pc-q35-7.2-v4'
MIB = 1 << 20
# Slow enough that the source is far from its end when the damage is found.
SLOW, FAST = 20 * MIB, 1 << 30
POSITION = 12 * MIB + 345
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

    def damaged(self, damage, backwards=False, caps=None, position=POSITION):
        with self.destination() as dst:
            if caps:
                dst.set_caps(**caps)
            with Proxy(dst.listens_at(), damage, position,
                       backwards) as proxy:
                start_migration(self.src, proxy.uri, caps,
                                {'max_bandwidth': SLOW})
                check(proxy.done.wait(30), 'nothing went through the proxy')
                if not backwards:
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
        check(POSITION - 160 * 1024 < offset <= POSITION + 160 * 1024,
              f'found at {offset}, damaged at {POSITION}')

    def killed(self):
        with self.destination() as dst:
            start_migration(self.src, dst.listens_at(),
                            params={'max_bandwidth': SLOW})
            wait_for(lambda: self.src.qmp('query-migrate').get(
                'ram', {}).get('transferred', 0) > POSITION, 30,
                lambda: f'{self.src.qmp("query-migrate")}')
            dst.kill()
            self.survives()

    def succeeds(self, caps):
        with self.destination() as dst:
            dst.set_caps(**caps)
            migrate(self.src, dst.listens_at(), caps=caps,
                    params={'max_bandwidth': FAST})
            dst.console.wait_generations(2)


def main(t):
    with tempdir() as directory:
        scene = Scene(directory)
        with scene.src:
            scene.src.console.wait_booted()
            t.case('a bit turned on the way', scene.damaged, flip)
            t.case('a byte lost on the way', scene.damaged, drop)
            t.case('the connection ends', scene.damaged, cut)
            t.case('the destination is killed', scene.killed)
            t.case('a bit turned on the return path', scene.damaged, flip,
                   True, RETURN_PATH, 3)
            t.case('then the same guest migrates', scene.succeeds,
                   RETURN_PATH)


with Tap('damage to a stream that is still being sent') as tap:
    main(tap)
