#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams of a newer QEMU, as it were: records, sections, subsections and
embedded structures that nobody knows.  Where they say that they are optional,
qemu-vmstate skips, counts and names them; otherwise it refuses them by name.
And frames that are not right, with every checksum in order.
"""

from harness.qemu import tempdir
from harness.tap import Tap, check, equal
from interop import frames, wire
from interop.frames import Leaf
from interop.stream import Stream
from tool.run import DEVICES, V4, dump, record, run

UNKNOWN = 0x7a
DEVICE = 'i8254'
PORTS = '0000:00:1f.2/ich9_ahci'


def write(stream):
    path.write_bytes(stream.encode())


def skipped(stream, *words):
    """All commands go on without what is made up, and say what it was."""
    write(stream)
    check(', 1 skipped' in run('verify', path).good().out, 'verify is silent')
    said = run('info', path).good().out
    found = dump(path)
    equal(len(found['skipped']), 1, 'names in the dump')
    for word in words:
        check(word in found['skipped'][0], f'{word!r} is not in {found}')
    equal({d['name']: d['fields'] for d in found['devices']}, fields,
          'state of the devices')
    return said


def refused(stream, *words):
    write(stream)
    run('verify', path).bad(*words)
    run('dump', path).bad(*words)


def edited(name, change):
    stream = original.copy()
    stream.edit(name, change)
    return stream


# -- levels at which something is made up

def with_record(flags):
    stream = original.copy()
    stream.behind(stream.find(DEVICE), wire.Record(
        UNKNOWN, wire.LAST | flags, 0, b'what nobody knows'))
    return stream


def with_section(flags):
    stream = original.copy()
    stream.add(stream.find(DEVICE), 'made-up', b'state', flags)
    return stream


def with_subsection(flags):
    return edited('cpu', lambda tree: tree.subsections.insert(
        0, frames.made_up('cpu/made-up', flags)))


def with_first_subsection(flags):
    """In a structure whose description has none."""
    return edited(DEVICE, lambda tree: tree.subsections.append(
        frames.made_up('made-up', flags)))


def with_structure(flags):
    """Before an embedded structure."""
    def change(tree):
        tree.before(tree.find('ahci'), frames.made_up('made-up', flags))
    return edited(PORTS, change)


def with_structure_before_array(flags):
    def change(tree):
        ahci = tree.find('ahci')
        array = next(f for f in ahci.inner if f.is_array)
        ahci.before(array, frames.made_up('made-up', flags))
    return edited(PORTS, change)


def with_part(flags):
    """Among the parts of a virtio device."""
    def change(tree):
        tree.before(tree.find('queues'), frames.made_up('made-up', flags))
    return edited(virtio, change)


def record_level():
    said = skipped(with_record(wire.OPTIONAL), 'unknown')
    check('skipped: ' in said, said)
    refused(with_record(0), f'unknown type 0x{UNKNOWN:04x}', 'not optional')


def section_level():
    said = skipped(with_section(wire.OPTIONAL), "'made-up'", 'instance 0')
    check(' made-up ' in said, said)
    refused(with_section(0), "'made-up'", 'not optional')


def frame_level(make, within, *known):
    skipped(make(frames.OPTIONAL), 'made-up', within)
    refused(make(0), "made-up'", 'not optional', f"'{within}'", *known)


def all_at_once():
    stream = with_record(wire.OPTIONAL)
    stream.add(stream.find(DEVICE), 'made-up', b'state', wire.OPTIONAL)
    stream.edit('cpu', lambda tree: tree.subsections.extend(
        frames.made_up(f'cpu/made-up-{n}', frames.OPTIONAL)
        for n in range(100)))
    write(stream)
    check(', 102 skipped' in run('verify', path).good().out, 'count')
    found = dump(path)
    check(len(found['skipped']) + found['skipped-more'] == 102, 'dump')
    check('skipped: ' in run('info', path).good().out, 'info')


# -- frames that are not right

def bad_frame(name, change, *words):
    refused(edited(name, change), f"'{name}'", *words)


def longer(tree):
    tree.find('ahci').length = 1 << 20


def shorter(tree):
    tree.find('ahci').length = 3


def renamed(tree):
    tree.find('ahci').name = 'ahcj'


def with_flags(flags):
    def change(tree):
        tree.find('ahci').flags |= flags
    return change


def array_count(count):
    def change(tree):
        array = next(f for f in tree.find('ahci').inner if f.is_array)
        array.count = count
    return change


def no_array(tree):
    array = next(f for f in tree.find('ahci').inner if f.is_array)
    array.flags = 0


def subsection_count(tree):
    tree.count = len(tree.subsections) + 1


def subsection_twice(tree):
    tree.subsections.append(tree.subsections[0])


def no_subsection(tree):
    tree.subsections.clear()


def more_fields(tree):
    tree.parts.append(Leaf('more', 'uint8', b'\1'))


def less_fields(tree):
    last = tree.parts[-1]
    last.data = last.data[:-1]


def behind_root():
    """Something behind the frame of a section."""
    stream = original.copy()
    rec = stream.find(DEVICE)
    stream.store(rec, stream.state(rec) + b'\0\0\0')
    refused(stream, f"'{DEVICE}'", '3 bytes more')


def no_name():
    stream = original.copy()
    rec = stream.find(DEVICE)
    state = bytearray(stream.state(rec))
    state[14] = 0
    stream.store(rec, bytes(state))
    refused(stream, f"'{DEVICE}'", 'no proper name')


def cut_header():
    stream = original.copy()
    rec = stream.find(DEVICE)
    stream.store(rec, stream.state(rec)[:10])
    refused(stream, f"'{DEVICE}'", 'cut short')


with Tap('qemu-vmstate and what nobody knows') as tap, \
     tempdir() as directory:
    path = directory / 'stream'
    record(path, V4, *DEVICES)
    original = Stream(path.read_bytes())
    fields = {d['name']: d['fields'] for d in dump(path)['devices']}
    virtio = next(name for name in fields if name.endswith('/virtio-net'))

    tap.case('a record', record_level)
    tap.case('a section', section_level)
    tap.case('a subsection', frame_level, with_subsection, 'cpu',
             'cpu/poll_control_msr')
    tap.case('a subsection where none is known', frame_level,
             with_first_subsection, DEVICE, 'has none')
    tap.case('a structure', frame_level, with_structure, PORTS, "'ahci'")
    tap.case('a structure before an array', frame_level,
             with_structure_before_array, PORTS)
    tap.case('a part of a virtio device', frame_level, with_part, virtio,
             "'queues'")
    tap.case('all of these', all_at_once)

    tap.case('a frame longer than what is around it', bad_frame, PORTS, longer,
             "'ahci' is longer")
    tap.case('a frame too short', bad_frame, PORTS, shorter)
    tap.case('a frame of another name', bad_frame, PORTS, renamed, "'ahci'",
             "'ahcj'")
    tap.case('unknown flags', bad_frame, PORTS, with_flags(0x8000),
             'unknown flags')
    tap.case('a structure that is not needed', bad_frame, PORTS,
             with_flags(frames.SPARE), 'only a subsection can be')
    tap.case('an array instead of a structure', bad_frame, PORTS,
             with_flags(frames.ARRAY), 'ahci')
    tap.case('a structure instead of an array', bad_frame, PORTS, no_array,
             'ahci')
    tap.case('more elements', bad_frame, PORTS, array_count(7),
             'expected 6 elements', 'got 7')
    tap.case('no elements', bad_frame, PORTS, array_count(0), 'got 0')
    tap.case('too many elements', bad_frame, PORTS, array_count(0xffffffff),
             'got 4294967295')
    tap.case('a subsection that is not there', bad_frame, 'cpu',
             subsection_count)
    tap.case('a subsection twice', bad_frame, 'cpu', subsection_twice, 'twice')
    tap.case('a subsection less', bad_frame, 'cpu', no_subsection,
             'did not come')
    tap.case('a field more', bad_frame, 'globalstate', more_fields)
    tap.case('a field less', bad_frame, 'globalstate', less_fields)
    tap.case('something behind the outermost frame', behind_root)
    tap.case('a frame without a name', no_name)
    tap.case('a frame that is cut short', cut_header)
