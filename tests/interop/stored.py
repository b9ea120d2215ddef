#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Files have every subsection that can be saved, and whoever loads one takes
what it knows: snapshots and file:, today's QEMU and made-up other ones, which
call a subsection otherwise.
"""

import contextlib
import json
import subprocess

from harness.guest import make_disk, run_guest
from harness.qemu import (BUILT, QEMU_IMG, Qemu, migrate, tempdir, wait_for,
                          wait_migration)
from harness.tap import Tap, check, equal
from interop import frames, wire
from interop.stream import Stream
from interop.vmstate import VmState
from witness import machines

V4 = 'pc-q35-7.2-v4'
TAG, NODE = 'saved', 'disk'
SETS = [(V4, 'virtio'), (V4, 'board'), ('pc-i440fx-7.2-v4', 'slow'),
        ('pc-i440fx-7.2-v4', 'bare')]

# Known to nobody here: what the loader's map makes of a name in the stream
ELSEWHERE = 'elsewhere'
SPARE = 'ps2kbd', 'ps2kbd/ledstate'
NEEDED = 'cpu', 'cpu/poll_control_msr'
MANY = ['virtio-net-pci', 'virtio-scsi-pci', 'virtio-serial-pci',
        'virtio-rng-pci']


def unknown(section, name):
    """A map with which a loader does not know a subsection."""
    return [{'op': 'rename-subsection', 'section': section, 'from': name,
             'to': f'{section}/{ELSEWHERE}'}]


def machine(*args, **options):
    return Qemu(BUILT, '-S', '-m', '16M', *args, machine=V4, **options)


@contextlib.contextmanager
def with_disk(directory, *args, **options):
    path = directory / 'disk.qcow2'
    if not path.exists():
        subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', path, '1M'],
                       check=True, timeout=60)
    with machine('-blockdev', f'qcow2,node-name={NODE},file.driver=file,'
                 f'file.filename={path}', *args, **options) as vm:
        yield vm


def saved(directory):
    """A file that a stopped machine has gone to."""
    path = directory / 'file'
    with machine() as src:
        migrate(src, f'file:{path}')
    return path


def facts_of(stream):
    return json.loads(wire.content(stream.records, wire.FACTS))


def spares(stream):
    """Names of all subsections that are stored and not needed."""
    found = []
    for record in stream.records:
        tree = record.identifies and stream.tree(record)
        for frame, _ in tree.walk() if tree else ():
            if frame.flags & frames.SPARE:
                found.append(frame.name)
    return found


def dropped(vm):
    figures = vm.qmp('query-migrate')['stream']
    return figures['dropped'], figures.get('dropped-names', [])


def says(said, *words):
    for word in words:
        check(word in said, f'{word!r} is missing: {said}')


def loaded(path, given=None):
    """Loads a file into a fresh machine; what it dropped."""
    with machine(incoming='defer') as dst:
        if given is not None:
            dst.qmp('migrate-set-map', operations=given)
        dst.qmp('migrate-incoming', uri=f'file:{path}')
        wait_migration(dst)
        return dropped(dst)


def refused(path, *words, given=None):
    with machine(incoming='defer') as dst:
        if given is not None:
            dst.qmp('migrate-set-map', operations=given)
        dst.qmp('migrate-incoming', uri=f'file:{path}')
        info = wait_for(lambda: next(
            (i for i in [dst.qmp('query-migrate')]
             if i.get('status') in ('failed', 'completed')), None), 60,
            lambda: 'it goes on and on')
        equal(info['status'], 'failed', 'the migration')
        says(info['error-desc'], *words)


# -- what is in a file

def all_of_it(name, devices):
    """There and back: what was loaded is saved again, and is the same."""
    with tempdir() as directory:
        first, second = directory / 'first', directory / 'second'
        options = {'defaults': True,
                   'machine': machines.machine_option(name, devices)}
        args = machines.arguments(name, devices)
        with Qemu(BUILT, *args, **options) as src:
            migrate(src, f'file:{first}')
        with Qemu(BUILT, *args, incoming='defer', **options) as dst:
            dst.qmp('migrate-incoming', uri=f'file:{first}')
            wait_migration(dst)
            equal(dropped(dst), (0, []), 'dropped')
            migrate(dst, f'file:{second}')
        one, two = (Stream(p.read_bytes()) for p in (first, second))
        check(spares(one), 'nothing is stored that is not needed')
        equal(sorted(spares(two)), sorted(spares(one)), 'what is stored')
        for device in facts_of(one)['devices']:
            for stored in device.get('stored', ()):
                names = {part['name'] for part in stored['subsections']}
                for needed in stored['needed']:
                    check(set(needed) <= names, f'{needed} is not stored')


def only_in_files():
    with tempdir() as directory:
        path = directory / 'pipe'
        with machine() as src:
            migrate(src, f'exec:cat > {path}')
        stream = Stream(path.read_bytes())
        equal(spares(stream), [], 'what is not needed')
        check(all(r.type != wire.FACTS for r in stream.records), 'facts')


def takes_little():
    """What is not needed takes at most a tenth of what is."""
    with tempdir() as directory:
        args = ['-nodefaults']
        for name in MANY * 4:
            args += ['-device', name]
        sizes = {}
        for kind in 'exec', 'file':
            path = directory / kind
            with Qemu(BUILT, '-S', '-m', '16M', *args,
                      machine='pc-i440fx-7.2-v4') as src:
                migrate(src, f'file:{path}' if kind == 'file' else
                        f'exec:cat > {path}')
            records = Stream(path.read_bytes()).records
            sizes[kind] = sum(r.size for r in records if r.type == wire.FULL)
        check(sizes['exec'] < sizes['file'] <= sizes['exec'] * 1.1, sizes)


def queues():
    """A size that nobody needs: the queue's own comes with its device."""
    def disk(size, **options):
        return machine('-blockdev', f'null-co,node-name={NODE}', '-device',
                       f'virtio-blk-pci,drive={NODE},queue-size={size}',
                       '-global', 'migration.config-check=off', **options)
    with tempdir() as directory:
        with disk(128) as src:
            migrate(src, f'file:{directory}/file')
        with disk(256, incoming='defer') as dst:
            dst.qmp('migrate-incoming', uri=f'file:{directory}/file')
            wait_migration(dst)


def fd_is_a_file():
    """A descriptor of a file, at some place in it."""
    with tempdir() as directory:
        path = saved(directory)
        before = b'something else'
        path.write_bytes(before + path.read_bytes())
        with open(path, 'rb') as file:
            file.seek(len(before))
            with machine(pass_fds=(file.fileno(),), incoming='defer') as dst:
                dst.qmp('migrate-incoming', uri=f'fd:{file.fileno()}')
                wait_migration(dst)
                equal(dropped(dst), (0, []), 'dropped')


# -- who loads it

def other_build():
    """One that does not know what is not needed loads all else."""
    with tempdir() as directory:
        path = saved(directory)
        count, names = loaded(path, given=unknown(*SPARE))
        equal(count, 1, 'dropped')
        says(names[0], f"'{SPARE[0]}/{ELSEWHERE}'", f"section '{SPARE[0]}'")


def foreign_build():
    """One that does not know what is needed refuses."""
    with tempdir() as directory:
        refused(saved(directory), "device 'cpu' (instance 0)",
                f'needs {NEEDED[1]}', 'this side has no combination',
                given=unknown(*NEEDED))


def by_pipe():
    """Who cannot look ahead takes what is needed."""
    with tempdir() as directory:
        path = saved(directory)
        with machine(incoming='defer') as dst:
            dst.qmp('migrate-incoming', uri=f'exec:cat {path}')
            wait_migration(dst)
            count, names = dropped(dst)
            equal(count, len(spares(Stream(path.read_bytes()))), 'dropped')
            equal(len(names), min(count, 64), 'names')


# -- what is wrong with it

def forged(directory, change):
    path = saved(directory)
    stream = Stream(path.read_bytes())
    change(stream)
    path.write_bytes(stream.encode())
    return path


def put_facts(stream, change):
    facts = facts_of(stream)
    change(facts)
    begin, end = stream.chain_of(stream.of_type(wire.FACTS))
    chain = wire.chain(wire.FACTS, json.dumps(facts).encode(), wire.OPTIONAL,
                       0)
    for record in chain:
        record.flags |= wire.OPTIONAL
    stream.records[begin:end] = chain


def foreign_facts(stream):
    """It has nothing but combinations that are valid nowhere here."""
    def change(facts):
        device = next(d for d in facts['devices'] if d['name'] == 'ps2kbd')
        device['combinations'] = [{'structure': 'ps2kbd',
                                   'combinations': 'ps2kbd/x | ps2kbd/y'}]
        device['stored'] = [{
            'structure': 'ps2kbd', 'needed': [['ps2kbd/x']],
            'subsections': [{'name': 'ps2kbd/x', 'version': 1}]}]
    put_facts(stream, change)


def no_json(stream):
    begin, end = stream.chain_of(stream.of_type(wire.FACTS))
    stream.records[begin:end] = wire.chain(wire.FACTS, b'{', wire.OPTIONAL, 0)


def twice(stream):
    record = stream.of_type(wire.FACTS)
    begin, end = stream.chain_of(record)
    stream.records[end:end] = list(map(
        lambda r: wire.Record(r.type, r.flags, r.section_id, r.payload),
        stream.records[begin:end]))


def not_there(stream):
    """The facts have what did not come."""
    def change(tree):
        tree.subsections = [f for f in tree.subsections if f.name != SPARE[1]]
    stream.edit(SPARE[0], change)


def wrong_order(stream):
    def change(tree):
        tree.subsections.reverse()
    stream.edit('cpu', change)


def spare_structure(stream):
    """A structure that is embedded, and cannot be left out."""
    def change(tree):
        next(tree.inner).flags |= frames.SPARE
    stream.edit('ps2mouse', change)


def numbered(number):
    """The first of those that are not needed has another number."""
    def change(tree):
        first = next(f for f in tree.subsections if f.flags & frames.SPARE)
        first.number = number
    return lambda stream: stream.edit(SPARE[0], change)


def number_twice(stream):
    """The second of those that are not needed has the first one's number."""
    def change(tree):
        first, second, *_ = (f for f in tree.subsections
                             if f.flags & frames.SPARE)
        second.number = first.number
    stream.edit(SPARE[0], change)


WRONG = {
    'all combinations are foreign': (foreign_facts, [
        "device 'ps2kbd' (instance 0): 'ps2kbd' needs ps2kbd/x",
        'on the source: ps2kbd/x | ps2kbd/y', 'on this side']),
    'the facts are no JSON': (no_json, ['no proper JSON']),
    'the facts come twice': (twice, ['comes twice']),
    'what the facts have did not come': (not_there, [
        "section 'ps2kbd'", f"without subsection '{SPARE[1]}'"]),
    'no such number': (numbered('9'), [
        "section 'ps2kbd'", "subsection '9' is stored", 'less than']),
    'a zero before the number': (numbered('00'), ["'00' is stored"]),
    'less than nothing': (numbered('-1'), ["'-1' is stored"]),
    'a name, and no number': (numbered(SPARE[1]), ["' is stored"]),
    'a number twice': (number_twice, [
        "section 'ps2kbd'", 'comes twice: expected it once']),
    'what is needed comes last': (wrong_order, [
        "section 'cpu'", 'comes behind what is not']),
    'a structure that is not needed': (spare_structure, [
        "section 'ps2mouse'", 'only a subsection can be']),
}


def wrong(change, words):
    with tempdir() as directory:
        refused(forged(directory, change), *words)


# -- in a snapshot, with a guest that runs

@contextlib.contextmanager
def guest_with_snapshot(directory):
    """A guest that works, has been saved, and works on."""
    with run_guest(BUILT, make_disk(directory / 'guest.qcow2'),
                   directory / 'console', machine=V4) as vm:
        vm.console.wait_booted()
        equal(vm.hmp(f'savevm {TAG}'), '', 'what savevm says')
        yield vm


def untouched(vm, *words):
    """loadvm refuses, and the guest has not noticed."""
    said = vm.hmp(f'loadvm {TAG}')
    says(said, 'Cannot load the snapshot', *words)
    equal(vm.qmp('query-status')['running'], True, 'it runs')
    vm.console.wait_beats(3)


def guest_runs_on():
    with tempdir() as directory, guest_with_snapshot(directory) as vm:
        vm.qmp('migrate-set-map', operations=unknown(*NEEDED))
        untouched(vm, f'needs {NEEDED[1]}', 'this side has no combination')
        vm.qmp('migrate-set-map', operations=[])
        with damaged(directory / 'guest.qcow2'):
            untouched(vm, f"section '{SPARE[0]}'", 'are damaged')
        vm.qmp('migrate-set-map', operations=unknown(*SPARE))
        equal(vm.hmp(f'loadvm {TAG}'), '', 'what loadvm says')
        equal(dropped(vm)[0], 1, 'dropped')
        vm.console.wait_beats(3)


@contextlib.contextmanager
def damaged(image):
    """A bit is another of a subsection that is stored, and not needed."""
    with contextlib.closing(VmState(image)) as state:
        stream = Stream(state.stream)
        record = stream.find(SPARE[0])
        data = bytearray(state.stream)
        data[record.offset + record.size - 1] ^= 1
        state.write(bytes(data))
        yield
        state.write(state.stream)


def snapshots():
    """savevm stores, loadvm drops what it does not know."""
    with tempdir() as directory:
        with with_disk(directory) as vm:
            equal(vm.hmp(f'savevm {TAG}'), '', 'what savevm says')
            equal(vm.hmp(f'loadvm {TAG}'), '', 'what loadvm says')
            equal(dropped(vm), (0, []), 'dropped')
            vm.qmp('migrate-set-map', operations=unknown(*SPARE))
            equal(vm.hmp(f'loadvm {TAG}'), '', 'what loadvm says')
            equal(dropped(vm)[0], 1, 'dropped')
            says(vm.hmp('info migrate'), 'stream dropped: 1', ELSEWHERE)
        with with_disk(directory, '-loadvm', TAG) as vm:
            equal(dropped(vm), (0, []), 'dropped')


with Tap('files that have every subsection') as t:
    for one, plugged in SETS:
        t.case(f'{one} with {plugged} devices: there and back', all_of_it, one,
               plugged)
    t.case('only in files', only_in_files)
    t.case('what is not needed takes little', takes_little)
    t.case('queues that have another size here', queues)
    t.case('a descriptor of a file', fd_is_a_file)
    t.case('a build that does not know what is not needed', other_build)
    t.case('a build that does not know what is needed', foreign_build)
    t.case('who cannot look ahead', by_pipe)
    for title, (how, what) in WRONG.items():
        t.case(f'refused: {title}', wrong, how, what)
    t.case('snapshots', snapshots)
    t.case('a guest that runs is not touched', guest_runs_on)
