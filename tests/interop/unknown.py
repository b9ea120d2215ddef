#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a newer QEMU might send beside what this one knows, at every level:
records, sections, subsections, structures.  Where it is marked optional it is
passed over, counted, and named in query-migrate; where it is not, it is
refused by name, and what is known instead is said.
"""

import concurrent.futures
import typing

from harness.qemu import BUILT, tempdir
from harness.tap import Tap, check, equal
from interop import frames, wire
from interop.frames import made_up
from interop.loading import Findings, Loader, destination, take, unwell
from interop.stream import Stream
from witness import byte_identity

MACHINES = [('pc-q35-7.2-v4', 'virtio'), ('pc-q35-7.2-v4', 'slow'),
            ('pc-i440fx-7.2-v4', 'board')]
WORKERS = 2
NAMES_MAX = 64          # that query-migrate gives
TYPE, NAME = 0x7a, 'nonsense'
DATA = b'what nobody knows'


# -- records

def made_up_record(flags):
    return wire.Record(TYPE, flags | wire.LAST, 0, DATA)


def made_up_packet(flags):
    """One that has a head, and data behind it."""
    return wire.Record(TYPE, flags | wire.LAST | wire.HEAD, 0,
                       (4 + len(DATA)).to_bytes(4, 'big') + DATA + bytes(9999))


def records(stream):
    """The records behind which another one can be."""
    return [r for r in stream.records if r.flags & wire.LAST and
            r.type not in (wire.INDEX, wire.END)]


def sections(stream, flags):
    """Two sections of unknown devices: one that is whole, and long if it is
    passed over, and one in parts.  Gives all their first records."""
    before = stream.find('timer')
    whole = stream.add(before, NAME, DATA * (10000 if flags else 1), flags)
    start = stream.add(before, NAME, DATA, flags, instance=1)
    start.type = wire.START
    start.flags |= flags
    for kind in wire.PART, wire.PART, wire.SECTION_END:
        part = wire.Record(kind, flags | wire.LAST, start.section_id, DATA)
        part.name, part.instance = start.name, start.instance
        stream.records.insert(stream.records.index(before), part)
    return [whole, start]


# -- frames

class Gap(typing.NamedTuple):
    """Where a frame can be put, and what stands in its place or around it."""
    parts: list
    at: int
    name: str
    is_subsection: bool

    def fill(self, flags):
        self.parts.insert(self.at, made_up(NAME, flags))

    def undo(self):
        del self.parts[self.at]


def gaps(tree):
    """All gaps of a section, so that those of one list are in order."""
    for frame, _ in list(tree.walk()):
        if frame.is_array:
            frame.count = len(frame.parts)
        else:
            for at in 0, len(frame.subsections):
                yield Gap(frame.subsections, at, frame.name, True)
        for parts in frame.lists()[:-1]:
            for at, part in enumerate(parts):
                if isinstance(part, frames.Frame):
                    yield Gap(parts, at, part.name, False)


def trees(stream):
    for record in list(stream.records):
        if record.identifies or record.type == wire.CONFIGURATION:
            tree = stream.tree(record)
            if tree:
                yield record, tree


# -- what is optional

def passed_over(directory, machine, devices, stream, names):
    path = directory / f'{machine}-{devices}'
    path.write_bytes(stream.encode())
    with destination(machine, devices) as vm:
        figures = take(vm, path)
    check(names, 'nothing was added')
    equal(figures['skipped'], len(names), 'how many were passed over')
    equal(figures['records'], len(stream.records), 'records')
    got = figures.get('skipped-names', [])
    equal(len(got), min(len(names), NAMES_MAX), 'how many are named')
    equal(sorted(set(got) - set(names)), [], 'names of what was not added')


def optional_records(stream):
    names = []
    for record in records(stream):
        stream.behind(record, made_up_record(wire.OPTIONAL))
        names.append('the unknown record')
    stream.behind(stream.find('timer'), made_up_packet(wire.OPTIONAL))
    return [*names, 'the unknown record']


def optional_sections(stream):
    return [r.described() for r in sections(stream, wire.OPTIONAL)]


def optional_frames(stream):
    names = []
    for record, tree in trees(stream):
        for gap in reversed(list(gaps(tree))):
            gap.fill(frames.OPTIONAL)
            names.append(f"'{NAME}' in '{gap.name}' of {record.described()}")
        stream.store(record, tree.encode())
    return names


OPTIONAL = {
    'records of unknown type': optional_records,
    'sections of unknown devices': optional_sections,
    'unknown structures and subsections': optional_frames,
}


# -- what is required

def refused(found, kind, loader, stream, place, words):
    said = loader.load(stream.encode())
    wrong = ('it was accepted' if said is None else
             unwell(said, places=[place], words=words))
    found.note(kind, wrong and f'at {place}: {wrong}')


def required_records(found, loader, stream):
    for number, record in enumerate(records(stream)):
        other = stream.copy()
        other.behind(record, [made_up_record, made_up_packet][number % 2](0))
        refused(found, 'a record of unknown type', loader, other,
                f'unknown type 0x{TYPE:04x}',
                ['optional', 'expected'])


def required_sections(found, loader, stream):
    for number in range(2):
        other = stream.copy()
        keep = sections(other, 0)[number]
        other.records = [r for r in other.records
                         if r.name != NAME or r.instance == keep.instance]
        refused(found, 'a section of an unknown device', loader, other,
                keep.described(), ['no such device', 'expected'])


def required_frames(found, loader, stream):
    """One for each kind of place that there is in a kind of device."""
    seen = set()
    for record, tree in trees(stream):
        for gap in list(gaps(tree)):
            key = ((record.name or '').rpartition('/')[2], gap.name,
                   gap.is_subsection, bool(gap.at))
            if key in seen:
                continue
            seen.add(key)
            gap.fill(0)
            other = stream.copy()
            other.store(other.records[stream.records.index(record)],
                        tree.encode())
            gap.undo()
            words = ([f"subsection '{NAME}' is unknown and not optional",
                      f"'{gap.name}' has"] if gap.is_subsection else
                     [f"'{gap.name}', got structure '{NAME}'"])
            refused(found, 'an unknown subsection' if gap.is_subsection else
                    'an unknown structure', loader, other,
                    record.described(), words)


REQUIRED = ['a record of unknown type', 'a section of an unknown device',
            'an unknown subsection', 'an unknown structure']


def required(directory, machine, devices):
    found = Findings()
    with Loader(machine, devices, directory) as loader:
        stream = Stream(loader.stream)
        required_records(found, loader, stream)
        required_sections(found, loader, stream)
        required_frames(found, loader, stream)
        loader.memory()
    return found


def main(t, directory):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = {where: pool.submit(required, directory, *where)
                for where in MACHINES}
        for (machine, devices), job in jobs.items():
            stream = Stream(byte_identity.sent(directory, BUILT, machine,
                                               devices))
            of = f'{machine} with {devices} devices'
            for kind, add in OPTIONAL.items():
                other = stream.copy()
                names = add(other)
                t.case(f'{of}, passed over: {kind}, {len(names)} of them',
                       passed_over, directory, machine, devices, other, names)
            if t.case(f'{of}: nothing goes wrong', job.result):
                for kind in REQUIRED:
                    t.case(f'{of}, refused: {kind}', job.result().check, kind)
                t.diag(f'{job.result().total()} streams were refused')


with Tap('what version 4 does not know') as tap, tempdir() as work:
    main(tap, work)
