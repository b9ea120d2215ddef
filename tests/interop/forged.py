#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams of a machine with many devices, of which one record after the other
is not what it should be, while all checksums and offsets are right: missing,
doubled, changed round, longer or shorter, of another device or version.

Every one is refused by the name of the section.  Where the index is put right
as well, or says what was there before, is said with each kind.
"""

import concurrent.futures
import copy

from harness.qemu import tempdir
from harness.tap import Tap, check
from interop import wire
from interop.loading import Findings, Loader, unwell
from interop.retrying import Patient
from interop.stream import Stream

MACHINES = [('pc-q35-7.2-v4', 'board'), ('pc-q35-7.2-v4', 'virtio'),
            ('pc-q35-7.2-v4', 'slow'), ('pc-i440fx-7.2-v4', 'bare')]
LOADERS = {'as a snapshot': Loader, 'again and again': Patient}
WORKERS = 2
NEW_ID, NEWEST = 47110, 0x7fffffff


def sections(stream, *types):
    return [r for r in stream.records
            if r.name is not None and r.type in (types or wire.SECTIONS)]


def sizes(stream):
    """The records of which one can be made longer or shorter."""
    return [r for r in stream.records
            if r.name is not None or r.type == wire.CONFIGURATION]


def starts_chain(record):
    """Whether what follows can't be understood without this record."""
    return record.identifies and (not record.flags & wire.LAST or
                                  record.type == wire.START)


def words(record):
    """What must be said if it has gone.  A device on a bus may then be given
    the state of one that is not, and refuses it under that one's name."""
    device = record.name.rpartition('/')[2]
    return ['expected' if starts_chain(record)
            else f"{device}' (instance {record.instance})"]


# -- one kind each; they give what was done, the stream, and what must be said

def missing(stream):
    """The index still has it."""
    for record in sections(stream):
        other = stream.copy()
        other.records.remove(same(other, stream, record))
        yield record, wire.encode(other.records), words(record)


def doubled(stream):
    for record in sections(stream):
        other = stream.copy()
        there = same(other, stream, record)
        other.behind(there, copy.copy(there))
        yield record, wire.encode(other.records), [record.described()]


def twice(stream):
    """As another section of the same device, which the index has too."""
    for record in sections(stream, wire.FULL):
        if not record.identifies:
            continue
        other = stream.copy()
        begin, end = other.chain_of(same(other, stream, record))
        again = [copy.copy(there) for there in other.records[begin:end]]
        for new in again:
            new.section_id = NEW_ID
        other.records[end:end] = again
        yield record, other.encode(), [record.described(), 'comes twice']


def changed_round(stream):
    """The index has them as they were."""
    for at, (one, two) in enumerate(zip(stream.records, stream.records[1:])):
        if one.name is None or two.name is None or one.payload == two.payload:
            continue
        # A part may as well come on the other side of another section.
        if one.section_id != two.section_id and not (one.identifies and
                                                     two.identifies):
            continue
        other = stream.copy()
        other.records[at:at + 2] = other.records[at + 1], other.records[at]
        yield one, wire.encode(other.records), [
            'expected' if starts_chain(two) else words(one)[0]]


def longer(stream):
    for record in sizes(stream):
        if len(record.payload) == wire.PAYLOAD_MAX:
            continue
        other = stream.copy()
        same(other, stream, record).payload += b'\0'
        yield record, other.encode(), [record.described()]


def shorter(stream):
    for record in sizes(stream):
        if len(record.payload) == record.ident_size:
            continue
        other = stream.copy()
        there = same(other, stream, record)
        there.payload = there.payload[:-1]
        yield record, other.encode(), [record.described()]


def renamed(stream, expected, **fields):
    for record in sections(stream, wire.START, wire.FULL):
        if (not record.identifies or fields.get('name') == record.name or
                len(record.payload) == wire.PAYLOAD_MAX):
            continue
        other = stream.copy()
        there = same(other, stream, record)
        other.rename(there, **fields)
        there.name = fields.get('name', record.name)
        there.instance = fields.get('instance', record.instance)
        yield record, other.encode(), [there.described(), *expected]


def of_nobody(stream):
    return renamed(stream, ['no such device'], name='nonsense')


def of_another(stream):
    """That device has got its state, or does not take this one."""
    return renamed(stream, [], name='timer')


def of_another_instance(stream):
    return renamed(stream, ['no such device', '4711'], instance=4711)


def newer(stream):
    return renamed(stream, ['another version', str(NEWEST)], version=NEWEST)


def of_another_section(stream):
    """What belongs to one section says that it is the next one's."""
    for record in sections(stream, wire.PART, wire.SECTION_END):
        other = stream.copy()
        there = same(other, stream, record)
        there.section_id = NEW_ID
        yield record, wire.encode(other.records), [str(NEW_ID)]


def of_another_type(stream):
    """Parts as whole sections, whole sections as parts."""
    for record in sections(stream):
        kinds = ((wire.PART, wire.SECTION_END) if record.identifies
                 else (wire.START, wire.FULL))
        for kind in set(kinds) - {record.type}:
            other = stream.copy()
            same(other, stream, record).type = kind
            yield record, wire.encode(other.records), ['expected']


def same(other, stream, record):
    """The record of a copy that stands for one of the original."""
    return other.records[stream.records.index(record)]


KINDS = {
    'a record missing': missing,
    'a record doubled': doubled,
    'a section twice, by another id': twice,
    'two records changed round': changed_round,
    'a byte more': longer,
    'a byte less': shorter,
    'a device that is not there': of_nobody,
    'the name of another device': of_another,
    'an instance that is not there': of_another_instance,
    'a newer version': newer,
    'a section id that is not there': of_another_section,
    'another type': of_another_type,
}


def tried(loader, found):
    stream = Stream(loader.stream)
    for kind, forge in KINDS.items():
        for record, data, expected in forge(stream):
            said = loader.load(data)
            wrong = ('it was accepted' if said is None else
                     unwell(said, words=expected))
            found.note(kind, wrong and
                       f'{record.described()} at {record.offset}: {wrong}')
    loader.memory()


def machine_with(directory, machine, devices, make):
    """Snapshots of a machine, or tries of a destination."""
    found = Findings()
    with make(machine, devices, directory) as loader:
        tried(loader, found)
        loader.take()
    return found


def main(t, directory):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = {f'{machine} with {devices} devices, {what}':
                pool.submit(machine_with, directory, machine, devices, make)
                for what, make in LOADERS.items()
                for machine, devices in MACHINES}
        for of, job in jobs.items():
            if t.case(f'{of}: nothing goes wrong', job.result):
                for kind in KINDS:
                    t.case(f'{of}: {kind}', job.result().check, kind)
                t.diag(f'{job.result().total()} streams were refused')


with Tap('version 4 streams that say what is not so') as tap, \
     tempdir() as work:
    main(tap, work)
