#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""yank, while the destination waits for a channel that does not come, or the
source for a verdict that does not come: both end at once, with a reason, the
source runs on, and both can do it again.
"""

import contextlib
import time

from harness.qemu import tempdir, wait_for
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop import packet
from interop.meddling import MAIN
from interop.scene import Scene, untouched

FOREVER = 3600 * 1000       # milliseconds
SIDES = {'src': 'the source', 'dst': 'the destination'}
PATIENCE = 60
CHANNEL = 1
SETTLED = 0.2


class Withheld:
    """Keeps something from the destination, or from the source."""

    def __init__(self):
        self.asked = False      # the source waits for a verdict

    def sent(self, unit):
        """All of it."""
        self.asked |= (unit.channel == MAIN and unit.ends_round and
                       bool(unit.packet.flags & packet.VERDICT))
        return unit.data

    def answer(self, unit):
        """All of it."""
        return unit.data

    def are_waiting(self, scene):
        return self.asked and scene.src.status() == 'finish-migrate'


class Verdict(Withheld):
    """The verdict: the source waits for it, and the destination for what comes
    behind."""

    def __init__(self):
        super().__init__()
        self.came = False

    def answer(self, unit):
        self.came |= unit.name == 'verdict'
        return b'' if self.came else unit.data

    def are_waiting(self, scene):
        return self.came and super().are_waiting(scene)


class Channel(Withheld):
    """What ends a channel's round, and all that is behind it: the others wait
    at the barrier."""

    def __init__(self):
        super().__init__()
        self.ended = False

    def sent(self, unit):
        if unit.channel == CHANNEL:
            self.ended |= unit.ends_round
            return b'' if self.ended else unit.data
        return super().sent(unit)

    def are_waiting(self, scene):
        return self.ended and super().are_waiting(scene)


def yanks(scene, what, *names):
    """names: of the machines whose connections are yanked"""
    withheld = what()

    def meanwhile(_link):
        wait_for(lambda: withheld.are_waiting(scene), PATIENCE,
                 lambda: f'nobody waits: {scene.src.qmp("query-migrate")}')
        # What was passed on last gets to where it is waited for
        time.sleep(SETTLED)
        for name in names:
            # The second one may have heard of it, and be through
            with contextlib.suppress(*[QmpError] * (name != names[0])):
                getattr(scene, name).qmp('yank',
                                         instances=[{'type': 'migration'}])
    for said in scene.fails(withheld.sent, withheld.answer, meanwhile):
        tap.diag(f'  {said}')
        check(said, 'no reason is given')
        check(f'{FOREVER}' not in said, f'it waited: {said}')


with Tap('yank') as tap:
    for multifd in False, True:
        title = 'multifd' if multifd else 'the main stream'
        with tempdir() as directory, Scene(directory, multifd) as pair:
            for vm in pair.src, pair.dst:
                vm.set_params(peer_timeout=FOREVER)
            for waits in (Verdict, Channel) if multifd else (Verdict,):
                for where in (('src',), ('dst',), ('dst', 'src')):
                    sides = ' and '.join(SIDES[name] for name in where)
                    tap.case(f'{title}: {sides}, while no '
                             f'{waits.__name__.lower()} comes', yanks, pair,
                             waits, *where)
            tap.case(f'{title}: and then as it should be', lambda: equal(
                pair.succeeds(untouched), (0, 0), 'healed, damaged'))
