#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of damage to packets of pages: a page that comes wrong is sent
again, and all else is refused with a reason, while the source runs on; on the
main stream and on channels of multifd.
"""

from harness.qemu import tempdir
from harness.tap import Tap, check, equal
from interop import packet, wire
from interop.meddling import MAIN
from interop.proxy import turned
from interop.scene import AT, MIB, Once, Scene, Wrong, untouched

COMPRESSIONS = 'zlib', 'zstd'
PAGE = packet.PAGE


# -- what is done; each is made for one try, and gets all units

class Swap:
    """Passes a unit on behind the next one of its channel."""

    def __init__(self, chosen):
        self.chosen, self.kept, self.done = chosen, None, False

    def __call__(self, unit):
        if self.kept and unit.channel == self.kept.channel:
            kept, self.kept = self.kept, None
            return unit.data + kept.data
        if not self.done and self.chosen(unit):
            self.kept, self.done = unit, True
            return b''
        return unit.data


def stubborn(unit):
    """The page in the middle of what is random never comes right."""
    if unit.has_pages:
        found = unit.packet
        pages = [e[0] for e in found.entries if not e[1]]
        if found.name == 'pc.ram' and AT + MIB in pages:
            return turned(unit.data,
                          unit.data_at + pages.index(AT + MIB) * PAGE)
    return unit.data


def on(channel, what):
    return lambda unit: unit.channel == channel and what(unit)


def with_pages(unit):
    return unit.has_pages


def of_thread(unit):
    """It has pages, and comes on a channel of multifd."""
    return unit.has_pages and unit.channel != MAIN


def ends_round(unit):
    return unit.ends_round


def turn(at):
    """at: where in the unit, or a function that says it"""
    return lambda unit: turned(unit.data, at(unit) if callable(at) else at)


def other_sum(unit):
    """The checksum of a page is another one, and that of the head is right."""
    found = unit.packet
    n = next(n for n, e in enumerate(found.entries) if not e[1])
    offset, zeros, crc = found.entries[n]
    found.entries[n] = offset, zeros, crc ^ 1
    return unit.encode(found)


def forged(**changes):
    """A head that says something else, with a checksum that is right."""
    def change(unit):
        found = unit.packet
        for name, value in changes.items():
            setattr(found, name, value)
        return unit.encode(found)
    return change


def moved(unit):
    """Its first page belongs somewhere behind the block."""
    found = unit.packet
    found.entries[0] = (1 << 40, *found.entries[0][1:])
    return unit.encode(found)


def twice(unit):
    return unit.data * 2


def dropped(_unit):
    return b''


def closed(_unit):
    return None


def without_byte(unit):
    return unit.data[:-1]


# What is done to packets of pages, and what both sides say of it
PAGES = {
    'a bit of a record\'s header': (turn(9), 'checksum'),
    'a bit of the checksum of a head': (turn(13), 'checksum'),
    'a bit of a head\'s length': (turn(wire.HEADER.size + 3), 'head'),
    'a bit of a head': (turn(wire.HEADER.size + 9), 'checksum'),
    'a bit of an entry': (turn(lambda unit: unit.data_at - 9), 'checksum'),
    'another block': (forged(name='nobody'), "'nobody'"),
    'a page behind the block\'s end': (moved, 'is too short'),
    'another round': (forged(round=9), 'round'),
    'a compression that is none': (forged(compression=9), 'compress'),
    'a packet twice': (twice, 'offset'),
    'a packet less': (dropped, 'offset'),
    'a byte less': (without_byte, ''),
    'the end of the channel': (closed, ''),
}
ROUNDS = {
    'a bit of the end of a round': (turn(wire.HEADER.size + 11), 'checksum'),
    'the end of a round less': (dropped, ''),
    'the end of another round': (forged(round=7), 'round'),
}
INIT = {
    'a bit of the magic': (turn(0), ''),
    'a bit of the version': (turn(7), 'version'),
    'a bit of the machine\'s identity': (turn(9), ''),
    'a bit of the channel\'s number': (turn(24), ''),
}


def refused(scene, act, words):
    here, there = scene.fails(act)
    tap.diag(f'  {there}')
    check(words in there, f'{words!r} is missing at the destination: {there}')
    check(words in here or not scene.heard,
          f'{words!r} is missing at the source: {here}')


def refusals(t, directory, multifd):
    pages = of_thread if multifd else with_pages
    name = 'multifd' if multifd else 'the main stream'
    with Scene(directory, multifd) as scene:
        for what, (change, words) in PAGES.items():
            t.case(f'{name}: {what}', refused, scene,
                   Once(pages, change, 2), words)
        if not multifd:
            # Where there is an index it has the head, too
            t.case(f'{name}: a page\'s checksum', refused, scene,
                   Once(with_pages, other_sum, 2), 'index')
        t.case(f'{name}: packets in another order', refused, scene,
               Swap(pages), 'offset')
        for where in (1, MAIN) if multifd else (MAIN,):
            for what, (change, words) in ROUNDS.items():
                t.case(f'{name}, {where}: {what}', refused, scene,
                       Once(on(where, ends_round), change), words)
        for what, (change, words) in INIT.items() if multifd else ():
            t.case(f'{name}: {what}', refused, scene,
                   Once(lambda unit: (unit.channel, unit.kind) == (1, 'init'),
                        change), words)
        t.case(f'{name}: a page that never comes right', refused, scene,
               stubborn, f"'pc.ram', offset {AT + MIB:#x}")
        t.case(f'{name}: and then as it should be', as_it_is, scene)


def as_it_is(scene):
    equal(scene.succeeds(untouched), (0, 0), 'healed, damaged')


def heals(multifd, act, pieces=None, exactly=None, **params):
    with tempdir() as directory, \
         Scene(directory, multifd, '-S', **params) as scene:
        healed, damaged = scene.succeeds(act, pieces)
        count = len(act.pages) if exactly is None else exactly
        check(count, 'nothing was damaged')
        equal(healed, damaged, 'healed, and not damaged')
        if params:
            # Of what was compressed, some may still be right
            check(0 < healed <= count, f'{healed} of {count} pages healed')
        else:
            equal(healed, count, 'healed')


with Tap('damage to packets of pages') as tap:
    for threads in False, True:
        here = 'multifd' if threads else 'the main stream'
        for number in 1, 2:
            tap.case(f'{here}: pages heal, {number}', heals, threads,
                     Wrong(number))
        tap.case(f'{here}: in pieces of 1000 bytes', heals, threads, Wrong(3),
                 1000)
        with tempdir() as where:
            refusals(tap, where, threads)
    tap.case('multifd: a page\'s checksum', heals, True,
             Once(with_pages, other_sum, 2), None, 1)
    for method in COMPRESSIONS:
        tap.case(f'multifd, {method}: pages heal', heals, True, Wrong(4), None,
                 None, **{'multifd-compression': method})
