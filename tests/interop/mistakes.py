#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams of version 4 that are whole, but not right: what a faulty, newer or
malicious sender might send, with every checksum and offset in order.

All are refused by name, but for the record that says that it is optional,
which is skipped and counted.
"""

import copy
import struct

from harness.qemu import BUILT, Qemu, tempdir, wait_migration
from harness.tap import Tap, check, equal
from interop import wire
from interop.live import record_stream
from interop.retrying import wait_failed

MACHINE = 'pc-i440fx-7.2-v4'
UNKNOWN = 0x7a
CARD = '-device', 'virtio-net-pci'


class Stream:
    """The recorded stream's records, to be changed and encoded again."""

    def __init__(self, data):
        self.records = wire.parse(data)

    def copy(self):
        return copy.deepcopy(self)

    def find(self, name, kind=wire.FULL):
        return next(r for r in self.records
                    if r.name == name and r.type == kind)

    def behind(self, record, *added):
        at = self.records.index(record) + 1
        self.records[at:at] = added


def load(directory, stream, *words, args=()):
    """Loads the stream, which is refused with all of these words."""
    data = stream if isinstance(stream, bytes) else wire.encode(stream.records)
    path = directory / 'changed'
    path.write_bytes(data)
    with Qemu(BUILT, '-S', '-m', '16M', *args, machine=MACHINE,
              incoming='defer') as dst:
        dst.qmp('migrate-incoming', uri=f'exec:cat {path}')
        if not words:
            return wait_migration(dst)['stream']
        why = wait_failed(dst)
        for word in words:
            check(word in why, f'{word!r} is missing in: {why}')
    return None


def made_up(flags):
    return wire.Record(UNKNOWN, flags, 0, b'what nobody knows')


def ident(name, instance=0, version=1, length=None):
    name = name.encode()
    data = wire.IDENT.pack(instance, version,
                           len(name) if length is None else length) + name
    return data + struct.pack('>I', wire.crc32c(data))


def renamed(record, **fields):
    """The record under another identification."""
    body = record.payload[record.ident_size:]
    record.payload = ident(**fields) + body


# -- the cases; each gets a copy of the stream, returns what must be said

def unknown_required(s):
    s.behind(s.find('dma'), made_up(wire.LAST))
    return f'unknown type 0x{UNKNOWN:04x}', 'optional', 'offset'


def unknown_flags(s):
    s.find('hpet').flags |= 0x8000
    return "behind section 'ioapic' (instance 0)", 'flags', '0x8001'


def section_twice(s):
    record = s.find('hpet')
    s.behind(record, record)
    return "behind section 'hpet' (instance 0)", 'taken'


def part_without_start(s):
    record = copy.copy(s.find('hpet'))
    record.type, record.section_id = wire.PART, 4711
    s.behind(s.find('hpet'), record)
    return 'no open section', '4711'


def part_of_finished(s):
    """RAM goes on behind its end."""
    s.behind(s.find('hpet'), s.find('ram', wire.SECTION_END))
    return 'no open section', "behind section 'hpet' (instance 0)"


def longer(s):
    record = s.find('hpet')
    record.payload += b'more'
    return "section 'hpet' (instance 0)", 'longer', '4 bytes'


def longer_by_a_record(s):
    record = s.find('hpet')
    record.flags &= ~wire.LAST
    s.behind(record, wire.Record(record.type, wire.LAST, record.section_id,
                                 b'more'))
    return "section 'hpet' (instance 0)", 'longer'


def shorter(s):
    record = s.find('hpet')
    record.payload = record.payload[:-5]
    return "section 'hpet' (instance 0)", 'shorter'


def empty_section(s):
    record = s.find('hpet')
    record.payload = record.payload[:record.ident_size]
    return "section 'hpet' (instance 0)", 'shorter'


def no_identification(s):
    s.find('hpet').payload = b''
    return "behind section 'ioapic' (instance 0)", 'identification'


def unfinished_section(s):
    s.find('hpet').flags &= ~wire.LAST
    return "section 'hpet' (instance 0)", 'not finished'


def unfinished_chain(s):
    last = [r for r in s.records if r.type == wire.VMDESCRIPTION][-1]
    last.flags &= ~wire.LAST
    return 'the description record', 'not finished', 'index record'


def foreign_device(s):
    renamed(s.find('hpet'), name='nonsense')
    return ("'nonsense'",)


def foreign_instance(s):
    renamed(s.find('hpet'), name='hpet', instance=7)
    return ("'hpet'", '7')


def newer_device(s):
    renamed(s.find('hpet'), name='hpet', version=99)
    return 'hpet', '99'


def name_with_nul(s):
    renamed(s.find('hpet'), name='hp\0et')
    return 'proper name', "behind section 'ioapic' (instance 0)"


def name_of_nothing(s):
    renamed(s.find('hpet'), name='')
    return 'proper name', "behind section 'ioapic' (instance 0)"


def name_too_long(s):
    renamed(s.find('hpet'), name='hpet', length=255)
    return 'identification', "behind section 'ioapic' (instance 0)"


def no_configuration(s):
    s.records = [r for r in s.records if r.type != wire.CONFIGURATION]
    return 'configuration', 'section start'


def no_end(s):
    del s.records[-1]
    return 'too early', 'the index record'


def return_path_record(s):
    """Belongs into the other direction."""
    s.behind(s.find('hpet'), wire.Record(9, wire.LAST, 0, b'\0\1\0\0'))
    return ('return path',)


CASES = {
    'a record of unknown type': unknown_required,
    'unknown flags': unknown_flags,
    'a section twice': section_twice,
    'a part of what never started': part_without_start,
    'a part of what has ended': part_of_finished,
    'a section with more than the device takes': longer,
    'a section with a record more than that': longer_by_a_record,
    'a section with less than the device takes': shorter,
    'a section of nothing': empty_section,
    'a section without identification': no_identification,
    'a section that is not finished': unfinished_section,
    'a description that is not finished': unfinished_chain,
    'a device that is not there': foreign_device,
    'an instance that is not there': foreign_instance,
    'a newer version of a device': newer_device,
    'a NUL in a name': name_with_nul,
    'an empty name': name_of_nothing,
    'a name longer than its section': name_too_long,
    'no configuration': no_configuration,
    'no end': no_end,
    'a message of the return path': return_path_record,
}


def refused(directory, stream, change):
    changed = stream.copy()
    words = change(changed)
    load(directory, changed, *words)


def too_long(directory, stream):
    """Said by the header alone, before any memory is spent on it."""
    record = stream.find('hpet')
    data = bytearray(wire.encode(stream.records))
    head = data[record.offset:record.offset + 24]
    struct.pack_into('>I', head, 8, 0xfffffff0)
    data[record.offset:record.offset + 28] = head + struct.pack(
        '>I', wire.crc32c(head))
    load(directory, bytes(data), 'too long', str(0xfffffff0),
         "behind section 'ioapic' (instance 0)")


def preamble(directory, stream, at, value, *words):
    data = bytearray(wire.encode(stream.records))
    struct.pack_into('>I', data, at, value)
    load(directory, bytes(data), *words)


def skipped(directory, stream):
    changed = stream.copy()
    extra = made_up(wire.LAST | wire.OPTIONAL)
    changed.behind(changed.find('dma'), extra)
    changed.behind([r for r in changed.records if r.name == 'ram'][-1], extra)
    changed.behind(changed.records[0], extra)
    figures = load(directory, changed)
    equal(figures['skipped'], 3, 'records skipped')
    equal(figures['records'], len(changed.records), 'records')


def unchanged(directory, stream):
    figures = load(directory, stream)
    equal(figures['records'], len(stream.records), 'records')
    equal(figures['skipped'], 0, 'records skipped')


def queues(directory, place, value, *words):
    """A network card's: how many there are, and of what size the first is."""
    stream = Stream(record_stream(MACHINE, directory, *CARD))
    record = next(r for r in stream.records
                  if r.name and r.name.endswith('/virtio-net'))
    payload = bytearray(record.payload)
    at = payload.index(b'queues') + len('queues')
    equal(struct.unpack_from('>II', payload, at), (3, 256), 'queues')
    struct.pack_into('>I', payload, at + place, value)
    record.payload = bytes(payload)
    load(directory, stream, f"{record.name}'", *words, args=CARD)


def main(t, directory):
    stream = Stream(record_stream(MACHINE, directory))
    t.case('the stream as it was', unchanged, directory, stream)
    t.case('optional records of unknown type are skipped', skipped, directory,
           stream)
    for name, change in CASES.items():
        t.case(f'refused: {name}', refused, directory, stream, change)
    t.case('refused: a record of 4 GiB', too_long, directory, stream)
    t.case('refused: another magic', preamble, directory, stream, 0,
           0x12345678, '0x12345678', '0x5145564d')
    t.case('refused: version 5', preamble, directory, stream, 4, 5,
           'version 5', 'version 4')
    t.case('refused: version 0', preamble, directory, stream, 4, 0, 'version')
    for number in 0, 2, 5, 1024:
        t.case(f'refused: {number} queues of a network card', queues,
               directory, 0, number, f'{number} queues')
    t.case('refused: a queue of no size', queues, directory, 4, 0, 'no size')


with Tap('version 4 streams that are not right') as tap, tempdir() as work:
    main(tap, work)
