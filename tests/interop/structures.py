#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames and the index that are not right, in a stream whose checksums and
offsets all are: each is refused by the name of the device and the structure.
"""

import concurrent.futures

from harness.qemu import tempdir
from harness.tap import Tap, check
from interop import frames, index, wire
from interop.loading import Findings, Loader, unwell
from interop.stream import Stream

MACHINES = [('pc-q35-7.2-v4', 'virtio'), ('pc-i440fx-7.2-v4', 'slow'),
            ('pc-q35-7.2-v4', 'board')]
WORKERS = 2
SEEN = set()            # kinds of frames that were tried with some machine
UNKNOWN_FLAG, NEWEST, TOO_LONG = 0x8000, 0x7fffffff, 0x80000000


# -- frames: what is changed in one, and what must be said

def longer(frame):
    frame.length += 1
    return ['expected']


def shorter(frame):
    frame.length -= 1
    return ['expected']


def more_subsections(frame):
    frame.count += 1
    return []


def newer(frame):
    frame.version = NEWEST
    return ['another version', f'got {NEWEST}']


def older(frame):
    """No structure is of version -1, and so none takes it."""
    frame.version = 0xffffffff
    return ['another version', 'expected']


def called(frame):
    """How a frame is called by who has read no more than its header."""
    return f"'{frame.wire_name.decode()}'"


def foreign(frame):
    frame.name, frame.number = 'nonsense', None
    return ["'nonsense'"]


def unknown_flags(frame):
    frame.flags |= UNKNOWN_FLAG
    return ['unknown flags', called(frame)]


def too_long(frame):
    frame.length = TOO_LONG
    return ['too long', called(frame), str(TOO_LONG)]


def array(frame):
    frame.flags ^= frames.ARRAY
    frame.flags &= ~frames.FRAMES
    return ['expected' if frame.count is None else f"'{frame.name}'"]


def no_name(frame):
    frame.name, frame.number = '\0', None
    return ['proper name']


FRAMES = {
    'a frame that is longer': longer,
    'a frame that is shorter': shorter,
    'a count that is one more': more_subsections,
    'a newer version of a structure': newer,
    'a version of a structure that never was': older,
    'another name of a structure': foreign,
    'unknown flags of a frame': unknown_flags,
    'a frame of 2 GiB': too_long,
    'an array for a structure, and the other way round': array,
    'a frame without a name': no_name,
}


def settle(tree):
    """Puts the right lengths and counts into all frames, so that each can be
    changed without those around it."""
    for frame, _ in reversed(list(tree.walk())):
        frame.length = None
        frame.count = len(frame.parts if frame.is_array
                          else frame.subsections)
        size = frames.HEADER.size + len(frame.wire_name)
        frame.length = len(frame.encode()) - size


def kinds_of_frames(stream, seen):
    """Each kind of frame within each other kind once: record, tree, frame.
    seen: those that were tried already."""
    for record in stream.records:
        tree = (record.identifies or record.type == wire.CONFIGURATION) and (
            stream.tree(record))
        if tree:
            settle(tree)
            for frame, path in list(tree.walk()):
                key = frame.name, path[-1].name if path else ''
                if key not in seen:
                    seen.add(key)
                    yield record, tree, frame


def wrong_frames(found, loader, stream):
    for record, tree, frame in kinds_of_frames(stream, SEEN):
        before = vars(frame).copy()
        for kind, change in FRAMES.items():
            if change is shorter and not frame.length:
                continue
            words = change(frame)
            other = stream.copy()
            other.store(other.records[stream.records.index(record)],
                        tree.encode())
            vars(frame).update(before)
            tell(found, kind, f"'{frame.name}' of {record.described()}",
                 loader.load(other.encode()), [record.described()], words)


def tell(found, kind, what, said, places, words):
    wrong = ('it was accepted' if said is None else
             unwell(said, places=places, words=words))
    found.note(kind, wrong and f'{what}: {wrong}')


def subsections_twice(found, loader, stream):
    for record, tree, frame in kinds_of_frames(stream, set()):
        if frame.subsections:
            first = frame.subsections[0]
            frame.subsections.append(first)
            settle(tree)
            other = stream.copy()
            other.store(other.records[stream.records.index(record)],
                        tree.encode())
            frame.subsections.pop()
            settle(tree)
            tell(found, 'a subsection twice', f"'{first.name}' of "
                 f'{record.described()}', loader.load(other.encode()),
                 [record.described()], [f"'{first.name}' comes twice"])


# -- values on which both sides have to agree

def values(found, loader, stream):
    """Every field that says 'equal', once for each kind of device."""
    seen = set()
    for record in stream.records:
        tree = record.identifies and stream.tree(record)
        if not tree:
            continue
        for frame, _ in tree.walk():
            for parts in frame.lists():
                for leaf in parts:
                    key = (frame.name, getattr(leaf, 'name', None))
                    if (isinstance(leaf, frames.Leaf) and key not in seen
                            and leaf.type.endswith(' equal')):
                        seen.add(key)
                        one_value(found, loader, stream, record, tree, leaf)


def one_value(found, loader, stream, record, tree, leaf):
    was = leaf.data
    got = int.from_bytes(was, 'big') ^ 0x11
    leaf.data = got.to_bytes(len(was), 'big')
    other = stream.copy()
    other.store(other.records[stream.records.index(record)], tree.encode())
    leaf.data = was
    field = leaf.name.partition('[')[0]
    tell(found, 'another value where both must have the same',
         f"'{leaf.name}' of {record.described()}", loader.load(other.encode()),
         [record.described()], [f'{field}: both sides must have the same',
                                f'expected 0x{int.from_bytes(was, "big"):x}',
                                f'got 0x{got:x}'])


# -- the index

ENTRY = {
    'section_id': lambda e: e.section_id + 1000,
    'instance': lambda e: e.instance + 1000,
    'version': lambda e: e.version + 1000,
    'name': lambda e: 'nonsense',
    'flags': lambda e: e.flags ^ index.RESUMED,
    'length': lambda e: e.length + 1,
    'crc': lambda e: e.crc ^ 1,
}


def wrong_entries(found, loader, stream):
    for at, entry in enumerate(index.of(stream.records)):
        name = f"section '{entry.name}' (instance {entry.instance})"

        def tried(kind, spoil, *words):
            tell(found, kind, name, loader.load(stream.encode(spoil)),
                 ['the index record'], words)

        # Not each in every way: it is one comparison, whatever differs.
        field = list(ENTRY)[at % len(ENTRY)]
        tried(f'an entry of the index with another {field}',
              lambda entries: setattr(entries[at], field,
                                      ENTRY[field](entries[at])),
              *[f"'{entry.name}'"] * (field != 'name'))
        tried('an entry of the index that is missing',
              lambda entries: entries.pop(at), f"'{entry.name}'")
        tried('an entry of the index that comes twice',
              lambda entries: entries.insert(at, entries[at]),
              f"'{entry.name}'")
        if at:
            tried('two entries of the index changed round',
                  lambda entries: entries.insert(at - 1, entries.pop(at)),
                  f"'{entry.name}'")
    tell(found, 'an entry of the index too many', 'nonsense', loader.load(
        stream.encode(lambda entries: entries.append(index.Entry(
            4711, 0, 1, 'nonsense')))), ['the index record'],
        ["section 'nonsense' (instance 0) is missing"])


def index_without(stream, cut):
    payload = wire.content(stream.records, wire.INDEX)[:-cut]
    other = stream.copy()
    begin, end = other.chain_of(other.of_type(wire.INDEX))
    other.records[begin:end] = wire.chain(wire.INDEX, payload)
    return wire.encode(other.records)


def ends(found, loader, stream):
    """What can be wrong at the end of a stream."""
    def tried(what, records, *words):
        tell(found, 'the end of a stream', what, loader.load(
            records if isinstance(records, bytes) else wire.encode(records)),
            None, words)
    end = stream.of_type(wire.END)
    begin, behind = stream.chain_of(stream.of_type(wire.INDEX))
    found_index = stream.records[begin:behind]
    rest = stream.records[:begin]
    hpet = stream.find('ioapic')
    tried('no index', [*rest, end], 'without an index')
    tried('an index of nothing', [*rest, *wire.chain(wire.INDEX, b''), end],
          'the index record', 'came, but the index does not have it')
    tried('an index cut short', index_without(stream, 1), 'cut short')
    tried('an index cut in an entry', index_without(
        stream, len(index.of(stream.records)[-1].name) + 3), 'cut short')
    tried('the index twice', [*rest, *found_index, *found_index, end],
          'something comes behind the index')
    tried('a section behind the index', [*rest, *found_index, hpet, end],
          'something comes behind the index')
    tried('an end with a payload', [*rest, *found_index, wire.Record(
        wire.END, wire.LAST, 0, b'more')], 'the end has a payload', '4 bytes')
    begun = next(at for at, record in enumerate(rest)
                 if record.type == wire.CONFIGURATION) + 1
    tried('an index in the middle',
          [*rest[:begun], *found_index, *rest[begun:], end], "'ram'")
    for kind in (wire.CONFIGURATION, wire.RETURN_PATH, wire.PAGES, wire.COLO):
        odd = wire.Record(kind, wire.LAST, 0, b'\0\1\0\2')
        tried(odd.described(), [*rest, odd, *found_index, end],
              odd.described())


PARTS = [wrong_frames, subsections_twice, values, wrong_entries, ends]


def machine_with(directory, machine, devices):
    found = Findings()
    with Loader(machine, devices, directory) as loader:
        stream = Stream(loader.stream)
        for part in PARTS:
            part(found, loader, stream)
        loader.memory()
        loader.take()
    return found


def main(t, directory):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        jobs = {f'{machine} with {devices} devices':
                pool.submit(machine_with, directory, machine, devices)
                for machine, devices in MACHINES}
        for of, job in jobs.items():
            if t.case(f'{of}: nothing goes wrong', job.result):
                for kind in job.result().tried:
                    t.case(f'{of}: {kind}', job.result().check, kind)
                t.diag(f'{job.result().total()} streams were refused')


with Tap('structures and an index that are not right') as tap, \
     tempdir() as work:
    main(tap, work)
