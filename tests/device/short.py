#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices tested alone, as far as it fits into `make check`: one of each kind,
in a state that follows from a seed; and that a loss would be seen.
"""

from device import check, drive, examine, forge, made, regions
from harness.tap import Tap, check as holds, equal

PC, Q35 = check.MACHINES
STATES = [examine.RESET, check.SEED]
SOME = [
    (PC, 'board/isa-pit'), (PC, 'board/mc146818rtc'), (PC, 'board/i8042'),
    (PC, 'board/PIIX4_PM'), (PC, 'ide-hd'), (PC, 'isa-serial'),
    (PC, 'sb16'), (PC, 'usb-kbd'), (PC, 'virtio-blk-pci'),
    (PC, 'am53c974'), (Q35, 'board/hpet'), (Q35, 'board/ICH9-LPC'),
    (Q35, 'e1000'), (Q35, 'qemu-xhci'), (Q35, 'virtio-net-pci'),
    (Q35, 'ich9-ahci'),
]


def nothing_new(device, machine):
    result = examine.examine(device, machine, STATES)
    holds(not result.why_not, result.why_not)
    equal((result.states, [key for key in result.new()]), (len(STATES), []),
          'states, and what is new')


def a_loss_is_seen():
    """Version 3 has no configuration space of this one, version 4 has."""
    device = next(d for d in made.devices() if d.driver == 'sdhci-pci')
    found = examine.examine(device, PC, STATES).findings
    holds((3, 'register configuration+0x4') in found, found)
    equal([key for key in found if key[0] == 4], [], 'lost in version 4')


def one_seed_one_way():
    """What is written follows from the seed, and from nothing else."""
    places = [regions.Region(True, 0xc000, 64, 'x')]
    one, again, other = (
        drive.writes(drive.generator('device', seed), places)
        for seed in (1, 1, 2))
    equal(one, again, 'with the same seed')
    holds(one != other, 'another seed gives the same')


def combinations():
    for text, *sets in [
            ('', ''), ('a', 'a'), ('[a]', '', 'a'), ('a b', 'ab'),
            ('[a [b]]', '', 'a', 'ab'), ('a | b', 'a', 'b'),
            ('[a] [b c]', '', 'a', 'bc', 'abc'), ("'a' [b | c]", 'a', 'ab',
                                                  'ac')]:
        equal(forge.valid(text), {frozenset(s) for s in sets}, text)


with Tap('devices tested alone') as t:
    t.case('one seed gives one sequence', one_seed_one_way)
    t.case('which combinations are valid', combinations)
    t.case('a loss is seen', a_loss_is_seen)
    for machine in PC, Q35:
        known = {d.driver: d for d in [*made.devices(),
                                       *made.of_board(machine)]}
        for where, name in SOME:
            if where == machine:
                t.case(f'{name} on {machine}', nothing_new, known[name],
                       machine)
