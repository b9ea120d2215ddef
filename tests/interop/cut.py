#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The destination is killed, or the link is cut, at each phase of a version 4
migration: before the guest has switched over the source runs on, and after
that a postcopy is taken up again.
"""

from harness.guest import make_disk, run_guest
from harness.qemu import (BUILT, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.link import Link
from interop.live import Pauses, linux_pair

Q35, I440FX = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
MIB = 1 << 20
SLOW, FAST = 40 * MIB, 1 << 30
# A good part of the memory is left for postcopy, however late that begins
SLOWER = 5 * MIB
RAM = {'postcopy-ram': True}
PREEMPT = {**RAM, 'postcopy-preempt': True}


def after(size):
    """When that many bytes have come by."""
    seen = 0

    def now(data):
        nonlocal seen
        seen += len(data)
        return seen > size
    return now


def with_the_word(word):
    """When the bytes come by in which a section's name is."""
    seen = b''

    def now(data):
        nonlocal seen
        seen = seen[-len(word):] + data
        return word in seen
    return now


PHASES = {
    'at the first byte': lambda: after(0),
    'in the configuration': lambda: after(50),
    'at the first sections': lambda: with_the_word(b'\3ram'),
    'in the RAM': lambda: after(10 * MIB + 12345),
    'in the device state': lambda: with_the_word(b'/virtio-net'),
    'in the last device': lambda: with_the_word(b'globalstate'),
    'in the description': lambda: with_the_word(b'{"page_size"'),
}


class Scene:
    """One guest, which outlives every attempt on its migration."""

    def __init__(self, directory, machine):
        self.directory = directory
        self.machine = machine
        self.disk = make_disk(directory / 'disk.qcow2')
        self.src = run_guest(BUILT, self.disk, directory / 'source',
                             machine=machine)
        self.count = 0

    def destination(self):
        self.count += 1
        return run_guest(BUILT, self.disk,
                         self.directory / f'destination{self.count}',
                         machine=self.machine, incoming='tcp:127.0.0.1:0',
                         name=f'destination{self.count}')

    def ends(self, when, kill):
        # Without it a source does not wait to hear how it ended.
        self.src.set_caps(return_path=True)
        with self.destination() as dst:
            link = None
            due = []

            def watch(data):
                if not due and when(data):
                    due.append(True)
                    if kill:
                        dst.process.kill()
                    else:
                        link.cut()

            with Link(dst.listens_at(), watch) as link:
                start_migration(self.src, link.uri,
                                params={'max_bandwidth': SLOW})
                info = wait_migration(self.src, 'failed')
                check(due, f'the phase was not seen: {info}')
                self.src.wait_status('running')
                self.src.console.wait_beats(3)
                if not kill:
                    equal(dst.wait_exit(30), 1, 'exit status')
                    check('migration stream: ' in dst.stderr() and
                          'offset' in dst.stderr(), 'the destination does '
                          f'not say where the stream ended: {dst.stderr()}')

    def succeeds(self):
        with self.destination() as dst:
            migrate(self.src, dst.listens_at(),
                    params={'max_bandwidth': FAST})
            dst.console.wait_generations(2)
            self.src.console.check()


def postcopy(machine, caps, size, nth):
    """The link is cut when that many bytes have come since the switch; which
    of the connections it is that is watched."""
    switched = []
    seen = 0

    with tempdir() as directory, \
         linux_pair(BUILT, BUILT, machine, caps=caps,
                    params={'max-bandwidth': SLOWER,
                            'max-postcopy-bandwidth': 5 * MIB},
                    oob=True) as (src, dst, uri):
        def watch(data):
            nonlocal seen
            if switched:
                seen += len(data)
                if seen > size:
                    link.cut()

        with Link(uri, watch, nth) as link:
            start_migration(src, link.uri)
            wait_for(lambda: src.qmp('query-migrate').get('ram', {}).get(
                'transferred', 0) > 8 * MIB, 30,
                lambda: f'{src.qmp("query-migrate")}')
            src.qmp('migrate-start-postcopy')
            dst.wait_status('running')
            switched.append(True)
            wait_migration(src, 'postcopy-paused')
            pauses = Pauses(dst)
            pauses.wait()
        again = f'unix:{directory}/socket'
        pauses.recover(again)
        src.set_params(**{'max-postcopy-bandwidth': 0})
        src.qmp('migrate', uri=again, resume=True)
        for vm in src, dst:
            wait_migration(vm)
        equal(dst.qmp('query-migrate')['stream']['sections'],
              src.qmp('query-migrate')['stream']['sections'], 'sections')
        dst.console.wait_generations(2)


def main(t):
    for machine in Q35, I440FX:
        with tempdir() as directory:
            scene = Scene(directory, machine)
            with scene.src:
                scene.src.console.wait_booted()
                for phase, when in PHASES.items():
                    t.case(f'{machine}: the link is cut {phase}',
                           scene.ends, when(), False)
                    t.case(f'{machine}: the destination is killed {phase}',
                           scene.ends, when(), True)
                t.case(f'{machine}: then the same guest migrates',
                       scene.succeeds)
    for size in 0, 100, 40_000, 2 * MIB:
        t.case(f'{Q35}: {size} bytes after the switch to postcopy', postcopy,
               Q35, RAM, size, 0)
    for size in 0, 5000:
        t.case(f'{I440FX}: {size} bytes after it, on the preempt channel',
               postcopy, I440FX, PREEMPT, size, 1)


with Tap('a destination that dies, a link that is cut') as tap:
    main(tap)
