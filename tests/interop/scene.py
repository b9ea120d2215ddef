# SPDX-License-Identifier: GPL-2.0-or-later
"""Two machines and a link between them that does something to what goes by,
one try after the other.

Not a test: no TAP in here.
"""

import collections
import os
import random

from harness.qemu import (BUILT, Qemu, migrate, start_migration,
                          wait_migration)
from harness.tap import check
from interop import packet, wire
from interop.meddling import Meddler
from interop.proxy import turned
from interop.retrying import again, resources, wait_failed, wait_resources

MACHINE = 'pc-q35-7.2-v4'
MIB = 1 << 20
MEMORY, RANDOM, AT = 24 * MIB, 6 * MIB, 8 * MIB
CHANNELS = 2
PAGE = packet.PAGE


class Scene:
    """A machine whose firmware has nothing to boot, with memory like no other
    run's, and a destination that is given one try after the other.

    creds    arguments of the source, and of the destination
    link     a Meddler
    """

    def __init__(self, directory, multifd, *args, creds=((), ()),
                 link=Meddler, **params):
        self.directory = directory
        self.link = link
        path = directory / 'random'
        path.write_bytes(os.urandom(RANDOM))
        common = ['-m', f'{MEMORY // MIB}M']
        self.src = Qemu(BUILT, *common, *args, *creds[0], '-device', 'loader,'
                        f'file={path},addr={AT:#x},force-raw=on',
                        machine=MACHINE)
        self.dst = Qemu(BUILT, *common, *creds[1], '-S', incoming='defer',
                        machine=MACHINE)
        for vm in self.src, self.dst:
            vm.set_caps(multifd=multifd, return_path=True)
            vm.set_params(**{'multifd-channels': CHANNELS, **params})
        self.dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        self.uri = self.dst.listens_at()

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.src.__exit__(*details)
        self.dst.__exit__(*details)

    def fails(self, act, answer=None, meanwhile=None):
        """A try that is refused; what either side says of it.

        meanwhile   called when it has begun, with the link
        """
        before = resources(self.src), resources(self.dst)
        self.heard = False
        def watched(unit):
            self.heard |= unit.kind == 'record' and unit.type == wire.START
            return act(unit)
        with self.link(self.uri, watched, answer=answer) as link:
            start_migration(self.src, link.uri)
            if meanwhile:
                meanwhile(link)
            here = wait_migration(self.src, 'failed')['error-desc']
            there = wait_failed(self.dst)
        self.src.wait_status('running')
        wait_resources(self.src, before[0])
        wait_resources(self.dst, before[1])
        self.uri = again(self.dst)
        return here, there

    def memory(self, vm):
        path = self.directory / 'memory'
        vm.qmp('pmemsave', val=0, size=MEMORY, filename=str(path))
        return path.read_bytes()

    def succeeds(self, act, pieces=None, answer=None):
        """A try that comes through; how many pages were wrong, as either side
        says."""
        with self.link(self.uri, act, pieces, answer) as link:
            here = migrate(self.src, link.uri)
            there = wait_migration(self.dst)
        check(self.memory(self.src) == self.memory(self.dst),
              'the destination\'s memory is not the source\'s')
        return here['ram']['healed'], there['stream']['damaged']


def untouched(unit):
    return unit.data


class Once:
    """Does something to the nth of the units that are chosen of a channel, of
    the first one that has so many: threads share pages out as it comes, and one
    of them may have them all.
    """

    def __init__(self, chosen, change, nth=1):
        self.chosen, self.change = chosen, change
        self.left = collections.defaultdict(lambda: nth)
        self.done = False

    def __call__(self, unit):
        if not self.done and self.chosen(unit):
            self.left[unit.channel] -= 1
            if not self.left[unit.channel]:
                self.done = True
                return self.change(unit)
        return unit.data


class Wrong:
    """Turns a bit in some pages, each of them once, and counts them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.pages = set()

    def __call__(self, unit):
        data = unit.data
        if not unit.has_pages:
            return data
        found = unit.packet
        if found.compression:
            return self._packed(unit, found)
        pages = [e for e in found.entries if not e[1]]
        for n, (offset, _, _) in enumerate(pages):
            if (found.name, offset) not in self.pages and \
               self.random.random() < 0.05:
                self.pages.add((found.name, offset))
                data = turned(data, unit.data_at + n * PAGE +
                              self.random.randrange(PAGE))
        return data

    def _packed(self, unit, found):
        """One bit makes all pages of a packet wrong, or some."""
        where = {(found.name, e[0]) for e in found.entries if not e[1]}
        if where & self.pages or self.random.random() > 0.2:
            return unit.data
        self.pages |= where
        return turned(unit.data, self.random.randrange(unit.data_at,
                                                       len(unit.data)))
