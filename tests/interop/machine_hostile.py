#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that nobody has, at a destination that has one and at one that is to
become what arrives: refused in words, in bounded memory, by a QEMU that then
takes the right one.
"""

import contextlib
import copy
import json
import socket
import struct
import unicodedata

from harness.qemu import BUILT, Qemu, QemuDied, tempdir, wait_migration
from harness.qmp import QmpError
from harness.tap import Tap, check
from interop import peer, talk, wire
from interop.adopting import adopter
from interop.loading import obscure, peaks

Q35 = 'pc-q35-7.2-v4'
MACHINE_MAX = 16 << 20
LIST_MAX = 16384
MANY = 5000             # devices or back ends, of which one has three objects
PATIENCE = 120_000      # ms; nothing is to take as long, however slow this is
# What a machine of MACHINE_MAX bytes may take beside itself, in KiB.
MARGINS = {'VmHWM': 768 << 10, 'VmPeak': 1024 << 10}
END = wire.Record(wire.MACHINE_END, wire.LAST, 0, b'')
WRONG = None, True, 7, -1, 1.5, 'x', '', [], [[]], {}, {'a': 1}

TRICKS = [
    "'", '"', '\\', 'a,b=c', 'a\nb', '%s%n%s', '../../etc/passwd', '/', '',
    'a\0b', 'a\x1b[2J', '\u202e', 'x' * 2000, '#block0', '{', '$(id)', ' ',
    'a;b', '-', '--', '\ud800', '\U0010ffff', '\x7f', '\x9b2J',
]
# What no text of JSON can say, in place of ID.
BYTES = {
    'invalid UTF-8': b'\xff\xfe', 'an overlong slash': b'\xc0\xaf',
    'half a character': b'\xe2\x82', 'a surrogate': b'\xed\xa0\x80',
    'a NUL': b'a\0b', 'a newline': b'a\nb', 'an end of the text': b'"',
}


def device(number=0, **members):
    return {'path': f'/extra/{number}', 'driver': 'virtio-rng-pci',
            'origin': 'user', 'properties': {}, 'host-properties': {},
            'set': [], **members}


def backend(kind, name, kind_of, **host):
    return {'kind': kind, 'id': name, 'type': kind_of, 'guest': {},
            'host': host}


def nested(depth, opening='[', closing=']'):
    return (opening * depth + closing * depth).encode()


def filled(first, unit, last=b'', size=MACHINE_MAX):
    """Text of a size, of the same over and over: its checksum is cheap."""
    return first + unit * ((size - len(first) - len(last)) // len(unit)) + last


def with_raw(config, where, raw):
    """A machine as text, with something that is no JSON perhaps."""
    where(config)['HERE'] = 0
    return json.dumps(config).encode().replace(b'"HERE": 0', b'"here": ' + raw)


class Hostile:
    """Has a destination that refuses one machine after the other.

    make     starts one
    becomes  it has no machine, and becomes what it takes
    """

    def __init__(self, made_up, make, becomes=False):
        self.becomes = becomes
        self.made_up = made_up
        self.make = make
        self.vm = None
        self.begin = None
        self.config = json.loads(wire.content(made_up.records, wire.MACHINE))

    def has_become(self):
        """Some are odd, and can be made."""
        try:
            self.vm.qmp('query-cpus-fast')
        except QmpError:
            return False
        return self.becomes

    def waits(self):
        if self.vm and self.has_become():
            self.close()
        if not self.vm:
            self.vm = self.make()
            self.vm.set_params(peer_timeout=PATIENCE)
            self.begin = peaks(self.vm)
        self.vm.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        return self.vm.listens_at()

    def close(self):
        if self.vm:
            self.vm.close()
            self.vm = None

    def says(self, behave):
        """What it says to a source that does that, and goes; and whether it
        has answered, as it does if it has the same machine."""
        with peer.connect(self.waits()) as p, contextlib.suppress(OSError):
            behave(p, self.made_up.source())
            p.sock.shutdown(socket.SHUT_WR)
            p.hear_end()
        try:
            info = wait_migration(self.vm, ('failed',), PATIENCE // 1000)
        except QemuDied:
            return self.ended()
        said = info['error-desc']
        return said, said.startswith('behind the hello record')

    def ended(self):
        """A machine that was begun to be made cannot be unmade: then QEMU ends
        with the words that it has for such an option."""
        status, said = self.vm.wait_exit(), self.vm.stderr()
        self.vm.close()
        self.vm = None
        check(status == 1, f'exit status is {status}: {said[-2000:]}')
        return said.strip().splitlines()[-1], False

    def refused(self, behave, *words):
        said, taken = self.says(behave)
        check(not taken, f'it was taken; then: {said}')
        well_said(said, *words)
        self.bounded()
        return said

    def bounded(self):
        if not self.vm or self.has_become():
            return
        for what, now in peaks(self.vm).items():
            check(now <= self.begin[what] + MARGINS[what],
                  f'{what} was {self.begin[what]} KiB, and is {now} KiB')

    def machine(self, text, *words):
        """Any bytes as the machine."""
        return self.refused(sends(text), *words)

    def changed(self, change, *words):
        """The right machine but for what change() does to it."""
        config = copy.deepcopy(self.config)
        change(config)
        return self.machine(json.dumps(config).encode(), *words)

    def survives(self, change):
        """Likewise, but it may be taken; if not, in words."""
        config = copy.deepcopy(self.config)
        change(config)
        said, taken = self.says(sends(json.dumps(config).encode()))
        if not taken:
            well_said(said)
        if self.vm:
            self.bounded()
        return taken

    def right(self):
        """In the end the right machine is taken by the same QEMU."""
        with peer.connect(self.waits()) as p:
            self.made_up.source().hand_over(p)
        self.close()


def well_said(said, *words):
    for word in words:
        check(word in said, f'{word!r} is not in: {said[:2000]!r}')
    check(not obscure(said), f'it is obscure: {said[:2000]!r}')
    check(len(said) < 70_000, f'it has {len(said)} characters')
    check(all(c == '\n' or unicodedata.category(c) != 'Cc' for c in said),
          f'something cannot be printed: {said[:2000]!r}')


def sends(text):
    return sends_records(lambda _: [*wire.chain(wire.MACHINE, text), END])


def sends_records(change):
    def behave(p, src):
        src.machine = change(src.machine)
        p.preamble()
        p.say(*src.machine)
        p.hello(src.facts | {'token': f'{p.token:016x}'})
    return behave


# -- texts

ITEM = b'[0,0,0,0,0,0,0],'
TEXTS = {
    'nested 33 deep': (b'{"format":1,"x":' + nested(33) + b'}',
                       'inside each other'),
    'nested 100,000 deep': (b'{"format":1,"x":' + nested(100_000) + b'}',
                            'inside each other'),
    'nested as deep as 16 MiB allow': (filled(b'', b'['),
                                       'inside each other'),
    'of objects 16 MiB deep': (filled(b'', b'{"aaa": '), 'inside each other'),
    'of 16 MiB of numbers': (filled(b'{"a":[', b'1,2,'), 'values'),
    'of 16 MiB of lists': (filled(b'{"a":[', ITEM), 'values'),
    'of 16 MiB of members': (
        b'{' + b','.join(b'"%06x":0' % n for n in range(1 << 20)),
        '4096 values'),
    'of 16 MiB of a string': (filled(b'{"a":"', b'x' * 64, b'"}'), 'format'),
    'of 16 MiB of blanks': (filled(b'', b' ' * 64), 'JSON'),
    'of 16 MiB of quotes': (filled(b'', b'"'), 'read'),
    'of 16 MiB of backslashes': (filled(b'"', b'\\'), 'read'),
    'of 16 MiB of zeros': (filled(b'', b'\0' * 64), 'no text'),
    'of a byte more than 16 MiB': (filled(b'', b' ', size=MACHINE_MAX + 1),
                                   'too long'),
    'with a number beyond all numbers': (b'{"format":1,"x":1e999}', 'read'),
    'with a format beyond all numbers': (b'{"format":1e999}', 'format'),
    'that is two': (b'{"format":1}{"format":1}', 'read'),
    'with a comma too many': (b'{"format":1,}', 'read'),
    'with a member twice': (b'{"format":1,"format":1}', 'read'),
    'with a placeholder': (b'{"format":%d}', 'read'),
}


# -- numbers

def many_devices(count):
    def change(config):
        config['devices'] += [device(n, id=f'e{n}') for n in range(count)]
    return change


def many_objects(config):
    config['later'] = [{} for _ in range(LIST_MAX)]
    config['more'] = [{} for _ in range(LIST_MAX - 1000)]
    config['board']['guest-type'] = config['board']['type'] = 'no such type'


def long_paths(config):
    """Devices with names that are all separators."""
    config['devices'] += [
        device(n, path=f'/{n}' + '/a' * 500) for n in range(MANY)]


def chain_of_backends(config):
    """Each needs the one behind it."""
    config['backends'] += [
        backend('chardev', f'c{n}', 'mux', chardev=f'c{n + 1}')
        for n in range(MANY)]
    config['devices'].append(device(**{
        'host-properties': {'chardev': 'c0'}, 'set': ['chardev']}))


def many_options(config):
    """And as many drives that they could be about."""
    config['board']['options'] += [
        {'option': 'drive', 'value': f'if=none,id=d{n}'}
        for n in range(LIST_MAX - len(config['board']['options']))]
    config['backends'] += [backend('block', f'd{n}', 'none')
                           for n in range(MANY)]


def many_members(config):
    """In an option, where they are no JSON."""
    config['board']['options'].append(
        {'option': 'smbios',
         'value': ','.join(f'm{n}=1' for n in range(1 << 20))})


def many_blocks(config):
    config['ram-blocks'] += [
        {'name': f'block{n}', 'size': 1 << 63, 'page-size': 1}
        for n in range(LIST_MAX - len(config['ram-blocks']))]


def many_hubs(config):
    config['backends'] += [
        backend('net', f'h{n}', 'hubport', hubid=n, netdev=f'h{n + 1}')
        for n in range(MANY)]
    config['devices'].append(device(driver='e1000', **{
        'host-properties': {'netdev': 'h0'}, 'set': ['netdev']}))


# With what has to be said; where nothing has to be, either side may make of it
# what it likes, but not for long.
NUMBERS = {
    '100,000 devices': (many_devices(100_000), 'values'),
    'one device more than there may be': (many_devices(LIST_MAX), '16384 values'),
    'as many objects as there may be': (many_objects, 'no such type'),
    'devices at no place': (many_devices(MANY),),
    'devices with paths of 500 parts': (long_paths,),
    'back ends that need each other': (chain_of_backends,),
    'as many drives as options': (many_options,),
    'an option with a million members': (many_members,),
    'as many RAM blocks as there may be': (many_blocks,),
    'as many hubs as there may be': (many_hubs,),
}


# -- members

def places(value, path=()):
    """All that a machine is made of, but of lists and free objects only the
    first."""
    items = []
    if isinstance(value, dict):
        items = list(value.items())
        if path and path[-1] in ('properties', 'host-properties', 'guest',
                                 'host'):
            items = items[:1]
    elif isinstance(value, list):
        items = list(enumerate(value[:1]))
    for key, inner in items:
        yield path + (key,)
        yield from places(inner, path + (key,))


def put(config, path, value):
    for key in path[:-1]:
        config = config[key]
    if value is put:
        del config[path[-1]]
    else:
        config[path[-1]] = value


def other_types(hostile):
    """Each member is missing, and of each type that there is."""
    taken = tried = 0
    for path in places(hostile.config):
        for value in (put, *WRONG):
            taken += hostile.survives(lambda c, p=path, v=value: put(c, p, v))
            tried += 1
    check(tried > 100 and taken < tried / 2, f'{taken} of {tried} were taken')


def unknown_members(hostile):
    """What a later QEMU may add is passed over; it is taken by none here, as
    that would be the machine itself: there is a difference, too."""
    def change(config):
        for part in (config, config['board'], config['cpu'], config['qemu'],
                     config['devices'][0], config['ram-blocks'][0]):
            part['later'] = {'a': [1, {'b': None}]}
        config['board']['guest-type'] = config['board']['type'] = 'no such type'
    hostile.changed(change, 'no such type')


def tricks(hostile):
    """In each place where there is a name."""
    def an_id(config, name):
        config['devices'].append(device(id=name))

    def a_path(config, name):
        config['devices'].append(device(path=name))

    def a_driver(config, name):
        config['devices'].append(device(driver=name))

    def a_bus(config, name):
        config['devices'].append(device(bus=name, address=name))

    def a_type(config, name):
        config['board']['type'] = name

    def an_accelerator(config, name):
        config['board']['accelerator'] = name
        config['board']['type'] = 'none'

    def a_model(config, name):
        config['cpu']['model'] = name

    def an_option(config, name):
        config['board']['options'].append({'option': name, 'value': name})

    def a_property(config, name):
        config['board']['properties'][name] = name
        config['board']['set'].append(name)
        config['board']['type'] = 'none'

    def a_value(config, name):
        config['devices'].append(device(**{
            'properties': {'serial': name}, 'set': ['serial', name]}))

    for place in (an_id, a_path, a_driver, a_bus, a_type, an_accelerator,
                  a_model, an_option, a_property, a_value):
        for name in TRICKS:
            hostile.survives(lambda c, n=name, p=place: p(c, n))


def no_text(hostile):
    for what, raw in BYTES.items():
        config = copy.deepcopy(hostile.config)
        config['devices'].append(device(id='ID', driver='ID'))
        said, taken = hostile.says(sends(
            json.dumps(config).encode().replace(b'"ID"', b'"' + raw + b'"')))
        check(not taken, f'{what} was taken')
        well_said(said)


def twice(hostile):
    def ids(config):
        config['devices'] += [device(n, id='same') for n in range(2)]

    def paths(config):
        config['devices'] += [device(0) for n in range(2)]

    def backends(config):
        config['backends'] += [backend('net', 'same', 'hubport')] * 2

    def blocks(config):
        config['ram-blocks'] += [config['ram-blocks'][0]]

    for change in ids, paths, backends, blocks:
        hostile.changed(change, 'twice')


def unknown_drivers(hostile, *words):
    for name in ('no-such-device', 'device', 'pci-device', 'machine',
                 'pc-q35-7.2-machine', 'virtio-blk-device', 'qemu64-x86_64-cpu',
                 'ICH9-LPC', 'secret', 'container'):
        hostile.changed(lambda c, n=name: c['devices'].append(
            device(driver=n)), name, *words)


# -- records

def raw_records(change):
    """change() gets the bytes of each record, and returns what is sent."""
    def behave(p, src):
        p.preamble()
        at, data = p.offset, []
        for record in src.machine:
            data.append(record.encode(at))
            at += len(data[-1])
        for piece in change(data):
            p.raw(piece)
    return behave


def bad_header(field, value):
    """A header that says something else, with a checksum that is right."""
    name, offset, size = next(f for f in wire.FIELDS if f[0] == field)
    del name

    def change(data):
        head = bytearray(data[0][:wire.HEADER.size - 4])
        head[offset:offset + size] = value.to_bytes(size, 'big')
        head += struct.pack('>I', wire.crc32c(bytes(head)))
        return [bytes(head) + data[0][wire.HEADER.size:], *data[1:]]
    return raw_records(change)


def flipped(data):
    return [data[0][:-1] + bytes([data[0][-1] ^ 1]), *data[1:]]


def in_two(*between, last=0):
    """The machine as a chain of two records."""
    def change(records):
        text = wire.content(records, wire.MACHINE)
        one, other = text[:100], text[100:]
        return [wire.Record(wire.MACHINE, last, 0, one), *between,
                wire.Record(wire.MACHINE, wire.LAST, 0, other), END]
    return sends_records(change)


RECORDS = {
    'a payload of another checksum': (raw_records(flipped), 'checksum'),
    'another offset': (bad_header('offset', 4711), 'offset'),
    'unknown flags': (bad_header('flags', 0x8001), 'flags'),
    'another length': (bad_header('length', 5), 'checksum'),
    'a chain with something else in it': (
        in_two(wire.Record(wire.FULL, wire.LAST, 1, wire.ident('ram'))),
        'machine'),
    'a chain with its end in it': (in_two(END), 'machine'),
    'two chains': (in_two(last=wire.LAST), 'end is missing'),
}


def ends_early(hostile):
    """It goes behind each record, and within each header."""
    def goes(size):
        def behave(p, src):
            p.raw(data[:size])
            p.close()
        return behave

    src = hostile.made_up.source()
    data = wire.encode(src.machine)
    sizes, at = {0, 4, wire.PREAMBLE.size}, wire.PREAMBLE.size
    for record in src.machine:
        sizes |= {at + 1, at + wire.HEADER.size, at + record.size - 1,
                  at + record.size}
        at += record.size
    for size in sorted(sizes):
        hostile.refused(goes(size))


def everything(t, name, hostile, drivers):
    """All of it, at one destination after the other has died."""
    def case(title, run, *args):
        t.case(f'{name}: {title}', run, *args)

    try:
        for title, (text, *words) in TEXTS.items():
            case(f'a machine {title}', hostile.machine, text, *words)
        for title, (change, *words) in NUMBERS.items():
            case(title, hostile.changed if words else hostile.survives, change,
                 *words)
        case('members of other types', other_types, hostile)
        case('unknown members', unknown_members, hostile)
        case('names with tricks', tricks, hostile)
        case('names that are no text', no_text, hostile)
        case('names that are there twice', twice, hostile)
        case('drivers that are none', unknown_drivers, hostile, *drivers)
        for title, (behave, *words) in RECORDS.items():
            case(title, hostile.refused, behave, *words)
        case('a machine that ends early', ends_early, hostile)
        case('then the right one', hostile.right)
    finally:
        hostile.close()


with Tap('machines that nobody has') as tap, tempdir() as work:
    made = peer.MadeUp(Q35, work)
    everything(tap, 'a machine', Hostile(made, lambda: Qemu(
        BUILT, '-m', peer.MEMORY, machine=Q35, incoming='defer')),
        ['not there'])
    everything(tap, 'none yet', Hostile(made, lambda: adopter(
        incoming='defer'), True), [])
