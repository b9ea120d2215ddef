#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of verdicts that are damaged on their way back, or that say what
is not so: no page is lost; the migration fails with a reason on both sides, and
the source runs on.
"""

import json
import struct
import threading

from harness.qemu import tempdir, wait_migration
from harness.tap import Tap, check, equal
from interop import packet, talk, wire
from interop.meddling import MAIN
from interop.proxy import turned
from interop.retrying import hastily
from interop.scene import AT, MEMORY, MIB, PAGE, Scene, untouched

RANGES_MAX = 1024
LONGEST = 16 * MIB          # of what the destination says at once
WHERE = AT + MIB
PATIENCE = 60
HEALS = "'pc.ram', offset {:#x}: the page came damaged 3 times"


# -- verdicts

def one(name=b'pc.ram', offset=WHERE, pages=1):
    return bytes([len(name)]) + name + struct.pack('>QI', offset, pages)


def ranges(*some, count=None):
    return struct.pack('>I', len(some) if count is None else count) + (
        b''.join(some))


def verdict(payload, flags=wire.LAST):
    return wire.Record(wire.VERDICT, flags, 0, payload)


def numbered(number, rest):
    return verdict(struct.pack('>I', number) + rest)


# -- what is done to the first one: each gets a talk.Unit, and says what to pass

def round_of(unit):
    return struct.unpack_from('>I', unit.record.payload)[0]


def is_verdict(unit):
    return unit.name == 'verdict'


def ends_hello(unit):
    return unit.name == 'hello' and unit.record.flags & wire.LAST


class First:
    """Does something to the first verdict, or the first answer at all."""

    def __init__(self, change, chosen=is_verdict):
        self.change, self.chosen, self.done = change, chosen, False

    def __call__(self, unit):
        if self.done or not self.chosen(unit):
            return [unit.record] if unit.record else unit.data
        self.done = True
        return self.change(unit)


def says(rest):
    """Other ranges than what it had."""
    return lambda unit: [numbered(round_of(unit), rest)]


def flipped(at):
    """A bit of one that has a range."""
    def change(unit):
        return turned(numbered(round_of(unit), ranges(one())).encode(
            unit.record.offset), at)
    return change


def of_round(change):
    return lambda unit: [numbered(change(round_of(unit)), ranges())]


def payload(change):
    return lambda unit: [verdict(change(unit.record.payload))]


def twice(unit):
    return [unit.record, unit.record]


def unasked(unit):
    return [unit.record, numbered(1, ranges())]


def without_end(unit):
    piece = bytes(wire.PAYLOAD_MAX)
    return [verdict(piece, 0)] * (LONGEST // len(piece) + 1)


def other_flags(flags):
    return lambda unit: [verdict(unit.record.payload, flags)]


class TooSoon:
    """The word that all was loaded comes before the verdict."""

    def __init__(self):
        self.token = None

    def sent(self, unit):
        """Learns the token from the source's hello."""
        if unit.kind == 'record' and unit.type == wire.HELLO:
            self.token = int(json.loads(unit.payload)['token'], 16)
        return unit.data

    def __call__(self, unit):
        return [talk.word(talk.LOADED, self.token), unit.record]


HEADER = {f'a bit of its header: {name}': (flipped(at + size - 1), 'checksum')
          for name, at, size in wire.FIELDS}
BEHIND = wire.HEADER.size
PAYLOAD = {f'a bit of its {name}': (flipped(BEHIND + at), 'checksum')
           for name, at in (('round', 3), ('number of ranges', 7),
                            ("name's length", 8), ('name', 9), ('offset', 22),
                            ('number of pages', 26))}
TOO_MANY = [one(offset=AT + 2 * n * PAGE) for n in range(RANGES_MAX + 1)]
# What was sent instead, and what the source has to say of it
FORGED = {
    'on the round behind it': (of_round(lambda n: n + 1), 'nobody asked about'),
    'on a round far away': (of_round(lambda _: 0xffffffff),
                            'nobody asked about'),
    'on round 0': (of_round(lambda _: 0), 'nobody asked about'),
    'on a block that is not there': (says(ranges(one(b'nobody'))),
                                     "'nobody', which is not there"),
    'on a block without a proper name': (says(ranges(one(b'pc\n'))),
                                         'names no block'),
    'on a block without a name': (says(ranges(one(b''))), 'names no block'),
    'on pages behind the end': (says(ranges(one(offset=MEMORY))),
                                'below 0x1800000'),
    'on pages beyond the end': (
        says(ranges(one(offset=MEMORY - PAGE, pages=2))), 'below 0x1800000'),
    'on pages that wrap around': (
        says(ranges(one(offset=(1 << 63) - PAGE, pages=0xffffffff))),
        'about no pages'),
    'on half a page': (says(ranges(one(offset=AT + PAGE // 2))),
                       'about no pages'),
    'on no pages': (says(ranges(one(pages=0))), 'about no pages'),
    'with a good range and one that is not': (
        says(ranges(one(), one(b'nobody'))), "'nobody', which is not there"),
    'with too many ranges': (says(ranges(*TOO_MANY)), 'too many ranges'),
    'with more ranges than it has': (says(ranges(one(), count=2)),
                                     'cut short'),
    'with very many ranges that it has not': (
        says(ranges(count=0xffffffff)), 'too many ranges'),
    'with fewer ranges than it has': (says(ranges(one(), count=0)),
                                      'wrong length'),
    'a byte too long': (payload(lambda data: data + b'\0'), 'wrong length'),
    'a byte too short': (payload(lambda data: data[:-1]), 'cut short'),
    'of nothing': (payload(lambda _: b''), 'cut short'),
    'longer than anything': (without_end, 'too long'),
    'with a head': (other_flags(wire.LAST | wire.HEAD), ''),
    'with flags that nobody knows': (other_flags(wire.LAST | 0x8000), 'flags'),
}


# -- what is done to the request, in the main stream

def asks(unit):
    return unit.channel == MAIN and unit.ends_round and bool(
        unit.packet.flags & packet.VERDICT)


def request(change):
    """Done to all of them; the first is the last, if nothing was damaged."""
    return lambda unit: change(unit) if asks(unit) else unit.data


def again(unit):
    """The same once more, where it would be if it was meant."""
    kind, flags, section, *_ = unit.fields()
    offset = unit.fields()[5]
    return unit.data + wire.Record(kind, flags, section, unit.payload).encode(
        offset + len(unit.data))


def unasked_for(unit):
    found = unit.packet
    found.flags = 0
    return unit.encode(found)


def of_another(change):
    """For another round than it is."""
    def forge(unit):
        found = unit.packet
        found.round = change(found.round)
        return unit.encode(found)
    return forge


REQUESTS = {
    'twice': again,
    'for the round before it': of_another(lambda number: number - 1),
    'for the round behind it': of_another(lambda number: number + 1),
    'for round 0': of_another(lambda _: 0),
    'for the last round that there can be': of_another(lambda _: 0xffffffff),
}


# -- the cases

def refused(scene, answer, words, sent=untouched):
    here, there = scene.fails(sent, answer)
    tap.diag(f'  {here}')
    tap.diag(f'  {there}')
    check(words in here, f'{words!r} is missing at the source: {here}')
    check(there, 'nothing was said at the destination')


def refused_there(scene, sent, words):
    here, there = scene.fails(sent)
    tap.diag(f'  {there}')
    for said in here, there:
        check(words in said, f'{words!r} is missing: {said}')


def damages(unit):
    """Always the same page."""
    if not unit.has_pages or unit.packet.name != 'pc.ram':
        return unit.data
    pages = [e[0] for e in unit.packet.entries if not e[1]]
    return turned(unit.data, unit.data_at + pages.index(WHERE) * PAGE) \
        if WHERE in pages else unit.data


def hidden(scene, *some):
    """A page was damaged, and the source is not told, or told of others: the
    destination has it on its mind all the same."""
    here, there = scene.fails(damages, First(says(ranges(*some))))
    tap.diag(f'  {there}')
    for said in here, there:
        check(f"'pc.ram', offset {WHERE:#x}" in said, said)


def silent(scene, sent=untouched):
    # It waits as long for the hello, which comes
    def attempt(timeout):
        scene.src.set_params(peer_timeout=timeout)
        refused(scene, First(lambda unit: []), 'expected its verdict', sent)
    try:
        hastily(attempt)
    finally:
        scene.src.set_params(peer_timeout=30000)


def doubled(scene):
    """Nothing that is behind the request arrives: the source may have sent all
    that the destination needs before it has heard it twice."""
    asked, over = threading.Event(), threading.Event()

    def sent(unit):
        if asked.is_set() and unit.channel == MAIN:
            over.wait(PATIENCE)
            return None
        if asks(unit):
            asked.set()
        return unit.data

    def meanwhile(_link):
        wait_migration(scene.src, 'failed')
        over.set()
    here, _there = scene.fails(sent, First(twice), meanwhile)
    check('nobody asked about' in here, here)


def closed_behind(scene):
    """The end of the connection right behind the verdict."""
    ended = []

    def answer(unit):
        if ended:
            return None
        if is_verdict(unit):
            ended.append(unit)
        return unit.data

    def sent(unit):
        return None if ended else unit.data
    refused(scene, answer, '', sent)


def too_soon(scene):
    early = TooSoon()
    refused(scene, First(early), 'before everything was sent', early.sent)


def asks_for_more(multifd):
    """Pages that were right come once more."""
    with tempdir() as directory, Scene(directory, multifd, '-S') as scene:
        equal(scene.succeeds(untouched, answer=First(says(ranges(
            one(pages=3), one(offset=AT, pages=2))))), (5, 0),
            'healed, damaged')


def never_content(unit):
    return [numbered(round_of(unit), ranges(one()))] if is_verdict(unit) \
        else unit.data


def cases(t, scene, name):
    for what, how in (HEADER | PAYLOAD).items():
        t.case(f'{name}: {what}', refused, scene, First(how[0]), how[1])
    for what, how in FORGED.items():
        t.case(f'{name}: a verdict {what}', refused, scene, First(how[0]),
               how[1])
    t.case(f'{name}: a verdict twice', doubled, scene)
    t.case(f'{name}: a verdict before anything was asked', refused, scene,
           First(unasked, ends_hello),
           'nobody asked about')
    t.case(f'{name}: everything was loaded before the verdict', too_soon,
           scene)
    t.case(f'{name}: no verdict', silent, scene)
    t.case(f'{name}: no request', silent, scene, request(unasked_for))
    t.case(f'{name}: the end before the verdict', refused, scene,
           First(lambda unit: None), 'expected its verdict')
    t.case(f'{name}: the end behind the verdict', closed_behind, scene)
    t.case(f'{name}: a verdict that hides damage', hidden, scene)
    t.case(f'{name}: a verdict that is on another page', hidden, scene,
           one(offset=AT))
    t.case(f'{name}: a verdict that is never content', refused, scene,
           never_content, HEALS.format(WHERE))
    for what, how in REQUESTS.items():
        t.case(f'{name}: a request {what}', refused_there, scene,
               request(how), 'a round ends out of order')
    t.case(f'{name}: and then as it should be', lambda: equal(
        scene.succeeds(untouched), (0, 0), 'healed, damaged'))


with Tap('verdicts that are not right') as tap:
    for threads in False, True:
        title = 'multifd' if threads else 'the main stream'
        tap.case(f'{title}: pages that were right', asks_for_more, threads)
        with tempdir() as where, Scene(where, threads) as both:
            cases(tap, both, title)
