#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptions that are wrong or made to do harm, in streams of both versions:
qemu-vmstate refuses them in words, in bounded time and memory.
"""

import copy
import json
import subprocess

from harness.qemu import environment, tempdir
from harness.tap import Tap, check, equal
from interop import frames, index, wire
from interop.frames import Frame, Leaf
from interop.stream import Stream
from tool.run import TOOL, V3, V4, dump, record, run

MIB = 1 << 20
DEVICE = 'i8254'
HEADER = b'\x06'                    # of a description in version 3
# No object that the tests make up takes more than that
MEMORY = 1536 * MIB


class New:
    """A stream of version 4, and its description."""

    def __init__(self, data):
        self.stream = Stream(data)
        self.description = self.stream.description

    def encode(self, text):
        return self.with_text(text).encode()

    def with_text(self, text):
        stream = self.stream.copy()
        begin, end = stream.chain_of(stream.of_type(wire.VMDESCRIPTION))
        stream.records[begin:end] = wire.chain(wire.VMDESCRIPTION, text)
        return stream


class Old:
    """A stream of version 3, and its description."""

    def __init__(self, data):
        at = data.rindex(b'{"page_size"')
        self.data = data[:at - 5]
        self.description = json.loads(data[at:])

    def encode(self, text):
        return self.data + HEADER + len(text).to_bytes(4, 'big') + text


def bounded(command, memory=MEMORY):
    """Runs a command on the stream within so much memory."""
    limit = [] if sanitized else ['prlimit', f'--as={memory}']
    return subprocess.run([*limit, TOOL, command, path], capture_output=True,
                          env=environment(), timeout=60, check=False)


def refused(data, *words):
    """Both commands that look at the description refuse it."""
    path.write_bytes(data)
    for command in 'verify', 'dump':
        done = bounded(command)
        said = done.stderr.decode()
        equal((done.returncode, done.stdout), (1, b''), f'{command}: {said}')
        for word in words:
            check(word in said, f'{word!r} is missing in {said!r}')
        check(said.isprintable() or said.replace('\n', '').isprintable(),
              f'not for a terminal: {said!r}')
        check(len(said) < 2000, f'too long: {said!r}')


def text(kind, body, *words):
    """Any text that begins like a description."""
    refused(kind.encode(b'{"page_size"' + body), *words)


def changed(kind, change, *words):
    description = copy.deepcopy(kind.description)
    devices = {d['name']: d for d in description['devices']}
    change(description['devices'], devices[DEVICE])
    refused(kind.encode(json.dumps(description).encode()), *words)


def set_field(**values):
    def change(_devices, device):
        device['fields'][0].update(values)
    return change


def drop_field(key):
    def change(_devices, device):
        del device['fields'][0][key]
    return change


def add_fields(*fields):
    def change(_devices, device):
        device['fields'] += fields
    return change


def set_device(**values):
    return lambda _devices, device: device.update(values)


def twice(devices, device):
    devices.insert(devices.index(device), device)


def foreign(devices, device):
    devices.insert(devices.index(device), {**device, 'name': 'foreign'})


def left_out(devices, device):
    devices.remove(device)


def no_object(devices, _device):
    devices.append(17)


def leaf(**values):
    return {'name': 'made-up', 'type': 'uint8', 'size': 0, **values}


def bomb():
    """Few bytes of description that tell of very many fields."""
    inner = {'fields': [leaf(name=f'f{n}') for n in range(1000)]}
    return leaf(name='bomb', array_len=1 << 40, type='struct', struct=inner)


def nest(depth):
    """A structure in a structure in a structure, and its description."""
    tree = Frame('n', 1, 0, [Leaf('x', 'uint8', b'\1')])
    described = {'vmsd_name': 'n', 'version': 1, 'fields': [leaf(size=1)]}
    for _ in range(depth - 1):
        tree = Frame('n', 1, 0, [tree])
        described = {'vmsd_name': 'n', 'version': 1,
                     'fields': [leaf(type='struct', struct=described,
                                     size=1)]}
    return tree, described


def nested(depth):
    """A version 4 stream with so many frames around one another."""
    tree, described = nest(depth)
    new = New(whole)
    new.stream.store(new.stream.find(DEVICE), tree.encode())
    for device in new.description['devices']:
        if device['name'] == DEVICE:
            for key in 'vmsd_name', 'version', 'fields', 'subsections':
                device.pop(key, None)
            device.update(described)
    return new.encode(json.dumps(new.description).encode())


def nested_as_deep_as_may_be():
    path.write_bytes(nested(frames.DEPTH_MAX))
    run('verify', path).good()
    value = dump('--section', DEVICE, path)['devices'][0]['fields']
    for _ in range(frames.DEPTH_MAX - 1):
        value = value['made-up']
    equal(value, {'made-up': 1}, 'the innermost')
    refused(nested(frames.DEPTH_MAX + 1), 'too deep', f"'{DEVICE}'")


def nested_old():
    def change(_devices, device):
        device['fields'] = nest(70)[1]['fields']
    changed(Old(old), change, 'too deep')


def undescribed():
    """A stream without any description is good as far as it goes."""
    stream = Stream(whole)
    stream.drop(stream.of_type(wire.VMDESCRIPTION))
    path.write_bytes(stream.encode())
    check('no description' in run('verify', path).good().out, 'verify')
    check(DEVICE in run('info', path).good().out, 'info')
    run('dump', path).bad('no description of its devices')


def write_long(stream):
    """Writes a stream that is too long to be held in memory more than once."""
    begin, end = stream.chain_of(stream.of_type(wire.INDEX))
    stream.records[begin:end] = index.encode(index.of(stream.records))
    with open(path, 'wb') as file:
        file.write(whole[:wire.PREAMBLE.size])
        for rec in stream.records:
            file.write(rec.encode(file.tell()))


def constant_memory():
    """However long a stream is."""
    stream = Stream(whole)
    part = stream.find('ram', wire.SECTION_END)
    many = [wire.Record(wire.PART, wire.LAST, part.section_id,
                        bytes(wire.PAYLOAD_MAX), name='ram', instance=0)] * 2000
    at = stream.records.index(part)
    stream.records[at:at] = many
    write_long(stream)
    for command in 'verify', 'info':
        done = bounded(command, 64 * MIB)
        equal((done.returncode, done.stderr), (0, b''), command)


def far_too_long():
    """Longer than any description may be."""
    write_long(New(whole).with_text(b'{"page_size":1}' + b' ' * (64 * MIB)))
    for command in 'verify', 'dump', 'info':
        done = bounded(command)
        equal(done.returncode, 1, command)
        check(b'too long' in done.stderr, done.stderr)


with Tap('qemu-vmstate and hostile descriptions') as tap, \
     tempdir() as directory:
    path = directory / 'stream'
    record(path, V4)
    whole = path.read_bytes()
    record(path, V3)
    old = path.read_bytes()
    sanitized = b'__asan_init' in open(TOOL, 'rb').read()

    for kind, of in (New(whole), 'version 4'), (Old(old), 'version 3'):
        for title, body, *words in (
                ('no JSON', b'; \x1b[2J\x07', 'no proper JSON'),
                ('cut short', b':4096, "devices": [', 'no proper JSON'),
                ('a long word', b':' + b'x' * 100000, 'no proper JSON'),
                ('no devices', b':4096}', "no list 'devices'"),
                ('devices that are no list', b':1,"devices":{}}',
                 "no list 'devices'"),
                ('a name twice', b':1,"page_size":2,"devices":[]}',
                 'duplicate key'),
                ('a zero byte', b':1,"devices":[]}\0', 'no text'),
                ('deep nesting', b':' + b'[' * 100000, 'no proper JSON'),
                ('many objects', b':[' + b'{},' * 200000 + b'1]}',
                 'too long')):
            tap.case(f'{of}: {title}', text, kind, body, *words)
        for title, change, *words in (
                ('a device that is no object', no_object, 'proper name'),
                ('a device twice', twice, f"'{DEVICE}'"),
                ('a device that is not there', foreign, "'foreign'"),
                ('a device with a bad name', set_device(name='a\x1b[2Jb'),
                 'proper name'),
                ('a device with a long name', set_device(name='a' * 256),
                 'proper name'),
                ('an instance that is none', set_device(instance_id=-1),
                 'proper name'),
                ('a field without a name', drop_field('name'), 'proper name'),
                ('a field with a bad name', set_field(name='\x9b2J'),
                 'proper name'),
                ('a field without a size', drop_field('size'), 'proper size'),
                ('a negative size', set_field(size=-1), 'proper size'),
                ('a huge size', set_field(size=1 << 62), 'proper size'),
                ('a size that is no number', set_field(size='1'),
                 'proper size'),
                ('a huge array', set_field(array_len=1 << 62), 'proper size'),
                ('array and index', set_field(array_len=2, index=0),
                 'proper size'),
                ('a field more', add_fields(leaf(size=1))),
                ('a long field more', add_fields(leaf(size=1 << 39))),
                ('a wrong order', add_fields(leaf(index=3)), 'out of order'),
                ('very many fields', add_fields(bomb()), 'more fields'),
                ('an endless array', add_fields(leaf(array_len=1 << 40)),
                 'more fields')):
            tap.case(f'{of}: {title}', changed, kind, change, *words)

    tap.case('a device without a description', changed, New(whole), left_out,
             f"'{DEVICE}'", 'not optional')
    tap.case('as deep as may be, and deeper', nested_as_deep_as_may_be)
    tap.case('version 3: structures too deep', nested_old)
    tap.case('too long', far_too_long)
    tap.case('no description at all', undescribed)
    tap.case('constant memory', constant_memory)
