#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices tested alone, as far as it fits into `make check`: one of each kind,
in a state that follows from a seed; and that a loss would be seen.
"""

import struct

from device import check, drive, examine, forge, made, regions
from device.machine import Machine
from harness.qemu import tempdir
from harness.tap import Tap, check as holds, equal
from witness import pci

PC, Q35 = check.MACHINES
STATES = [examine.RESET, check.SEED]
# In what filter-dump writes, and in a configuration space
FRAME, PIN = 24 + 16, 0x3d
ADDRESS = bytes.fromhex('522233445566')
SOME = [
    (PC, 'board/isa-pit'), (PC, 'board/mc146818rtc'), (PC, 'board/i8042'),
    (PC, 'board/PIIX4_PM'), (PC, 'ide-hd'), (PC, 'isa-serial'),
    (PC, 'sb16'), (PC, 'usb-kbd'), (PC, 'virtio-blk-pci'),
    (PC, 'am53c974'), (Q35, 'board/hpet'), (Q35, 'board/ICH9-LPC'),
    (Q35, 'e1000'), (Q35, 'qemu-xhci'), (Q35, 'virtio-net-pci'),
    (Q35, 'ich9-ahci'),
]


def made_of(name):
    return next(d for d in made.devices() if d.driver == name)


def nothing_new(device, machine):
    result = examine.examine(device, machine, STATES)
    holds(not result.why_not, result.why_not)
    equal((result.states, [key for key in result.new()]), (len(STATES), []),
          'states, and what is new')


def a_loss_is_seen():
    """Version 3 has no configuration space of this one, version 4 has."""
    found = examine.examine(made_of('sdhci-pci'), PC, STATES).findings
    holds((3, 'register configuration+0x4') in found, found)
    equal([key for key in found if key[0] == 4], [], 'lost in version 4')


def vmxnet3_address(card, qtest):
    registers = card.readl(pci.BAR0 + 4) & ~0xf
    qtest.writel(registers + 0x28, int.from_bytes(ADDRESS[:4], 'little'))
    qtest.writel(registers + 0x30, int.from_bytes(ADDRESS[4:], 'little'))


def i82551_address(card, qtest):
    """With a command block in memory: set the address, end of the list."""
    registers, block = card.readl(pci.BAR0) & ~0xf, drive.POOL
    qtest.write(block, struct.pack('<HHI', 0, 0x8001, 0) + ADDRESS)
    qtest.writel(registers + 4, block)
    qtest.writew(registers + 2, 0x0010)


def announced(machine, path):
    """The address that a card of the machine says it has."""
    machine.vm.qmp('object-add', qom_type='filter-dump', id='seen',
                   netdev='net', file=str(path))
    machine.vm.qmp('announce-self', initial=50, max=50, rounds=1, step=0)
    return path.read_bytes()[FRAME:][6:12]


def an_address_of_its_own(name, give, version):
    """A card whose address the guest has changed is still the one that the
    destination was started with, and the guest's address goes with it."""
    device = made_of(name)
    args = device.arguments()[1]
    with tempdir() as work, Machine(PC, args, travel=()) as src, \
         Machine(PC, args, incoming='defer', travel=()) as dst:
        path = work / 'stream'
        src.run()
        card, = regions.map_all(src, device)
        give(card, src.qtest)
        src.save(path, version)
        dst.load(path, version)
        equal(announced(dst, work / 'frames'), ADDRESS, 'announced')
        dst.save(path, version)
        holds(ADDRESS in path.read_bytes(), 'the address is not there')


def can_interrupt(card, qtest, bar, step):
    """Lets a controller send a frame, and want to say that it has."""
    if bar:
        qtest.outl((card.readl(pci.BAR0) & ~3) + 0x38, 0x2000)
    registers = card.readl(pci.BAR0 + 4 * bar) & ~3
    qtest.outb(registers, 4)
    qtest.outb(registers + step, 1)


def another_pin(name, bar, step):
    """Behind a stream that says that its interrupt has a pin which is none."""
    device = made_of(name)
    args = device.arguments()[1]
    with tempdir() as work:
        path = work / 'stream'
        with Machine(PC, args) as src:
            card, = regions.functions(src, device)
            ids = card.readl(0).to_bytes(4, 'little')
            src.save(path, 3)
        data = bytearray(path.read_bytes())
        at = data.index(ids, data.index(b':05.0/'))
        data[at + PIN] = 0xff
        path.write_bytes(data)
        with Machine(PC, args, incoming='defer') as middle:
            middle.load(path, 3)
            middle.run()
            card, = regions.map_all(middle, device)
            equal(card.byte(PIN), 0xff, 'pin')
            can_interrupt(card, middle.qtest, bar, step)
            middle.save(path, 4)
        with Machine(PC, args, incoming='defer') as dst:
            dst.load(path, 4)
            dst.settle()


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
    for name, give, version in [('vmxnet3', vmxnet3_address, 4),
                                ('i82551', i82551_address, 4),
                                ('i82551', i82551_address, 3)]:
        t.case(f'{name} with an address of its own, version {version}',
               an_address_of_its_own, name, give, version)
    for name, bar, step in [('kvaser_pci', 1, 1), ('pcm3680_pci', 0, 1),
                            ('mioe3680_pci', 0, 4)]:
        t.case(f'{name} at a pin that is none', another_pin, name, bar, step)
    for machine in PC, Q35:
        known = {d.driver: d for d in [*made.devices(),
                                       *made.of_board(machine)]}
        for where, name in SOME:
            if where == machine:
                t.case(f'{name} on {machine}', nothing_new, known[name],
                       machine)
