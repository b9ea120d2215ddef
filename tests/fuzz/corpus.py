#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes what the fuzzers begin with, out of streams of the built QEMU.

    tests/fuzz/corpus.py DIRECTORY

For each set of devices that the tests know, in DIRECTORY/SET: a stream for
each section that the machine sends after a reset, and into a file after its
devices were stirred, with the configuration before it and the index behind it. Of memory it
has a page of each kind.
In DIRECTORY/facts: what the machines say of themselves, whole and with one
device each; and short conversations around that, as either side hears them.
In DIRECTORY/machines: the machines as they travel, whole and with one device
each, and with a map.
In DIRECTORY/whole: all of these sections as one stream.
In DIRECTORY/packets: a channel of packets alone.
In DIRECTORY/described: those of the smaller sections once more, with the part
of the description that is about them, and what small machines send in version
3.
"""

import itertools
import json
import pathlib
import re
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [f'{ROOT}/tests', f'{ROOT}/build/tree/python']

# pylint: disable=wrong-import-position
from harness.qemu import BUILT, Qemu, tempdir, wait_migration
from interop import index, wire
from interop.packet import Packet, end_of_round, section
from witness import machines
from witness.qtest import Qtest
from witness.stir import stir

MACHINE = 'pc-q35-7.2-v4'
SETS = 'virtio', 'slow', 'board'
SMALL = 'none', 'isapc'

# Notices, and the words of a hand-over.
HELLO, HANDOVER = 0x0d, 0x0e
LOADED, RUN, RUNNING, REFUSED = 1, 2, 3, 4
TOKEN = 0x0123456789abcdef

# Larger ones, such as a sound card's memory, would only take time.
SEED_MAX = 128 << 10
DESCRIBED_MAX = 16 << 10
# What 'ram' sends of a page: an offset with flags, a block's name, bytes.
ZERO, PAGE, EOS, CONTINUE = 0x02, 0x08, 0x10, 0x20


def options(devices):
    """QEMU's options for the machine with one of SETS."""
    return ['-machine', machines.machine_option(MACHINE, devices),
            *machines.arguments(MACHINE, devices)]


def sent(vm, way='exec:cat >'):
    """The stream that a machine sends."""
    with tempdir() as directory:
        path = directory / 'stream'
        vm.qmp('migrate', uri=f'{way}{path}')
        wait_migration(vm)
        return path.read_bytes()


def stream(devices, stirred):
    """All records that the machine sends, and what it says of itself."""
    with Qtest() as qtest, Qemu(
            BUILT, *options(devices), *qtest.args(), machine=None,
            defaults=True, pass_fds=[qtest.theirs.fileno()]) as vm:
        qtest.started()
        config = vm.qmp('query-machine-config')
        if not stirred:
            return wire.parse(sent(vm)), vm.qmp('query-vmstate'), config
        stir(qtest, vm)
        # A file has more than is needed, and says so
        records = wire.parse(sent(vm, 'file:'))
        return records, json.loads(wire.content(records, wire.FACTS)), config


def old(machine):
    """The same of a machine without anything plugged in, in version 3."""
    with Qemu(BUILT, '-S', '-m', '2M', machine=machine) as vm:
        return (sent(vm), vm.qmp('query-vmstate'),
                vm.qmp('query-machine-config'))


def packets():
    """Packets of all kinds, of each part of memory."""
    pages = [bytes([n]) * 4096 for n in range(3)]
    return [[Packet().page(0x1000, pages[1]),
             Packet().zeros(0, 3).page(0x3000, pages[2]).zeros(0x5000),
             end_of_round()],
            [Packet(round=2).page(0x3000, pages[1]).page(0x4000, pages[2])
             .packed(),
             Packet(round=2, name='vga.vram').zeros(0, 3),
             end_of_round(2, flags=1)]]


def memory(section_id, block=b'pc.ram'):
    """A page of each kind, as the section 'ram' sends them, and its end."""
    name = bytes([len(block)]) + block
    payload = (struct.pack('>Q', ZERO) + name + b'\0' +
               struct.pack('>Q', 0x1000 | PAGE | CONTINUE) + bytes(4096) +
               struct.pack('>Q', EOS))
    return [wire.Record(wire.PART, wire.LAST, section_id, payload),
            wire.Record(wire.SECTION_END, wire.LAST, section_id,
                        struct.pack('>Q', EOS))]


def sections(records):
    """Pairs of a section's name and its records, without the memory."""
    found = {}
    for record in records:
        if record.name is None:
            continue
        parts = found.setdefault((record.name, record.section_id), [])
        if record.type in (wire.START, wire.FULL):
            parts.append(record)
        elif record.name == 'ram':
            parts[1:] = memory(record.section_id)
    return [(name, parts) for (name, _), parts in found.items()]


def beginning(text):
    """The records of a machine."""
    return [*wire.chain(wire.MACHINE, text), say(wire.MACHINE_END, b'')]


def small(records, keep, *description):
    """A stream of some sections' records, of a machine with no devices."""
    whole = json.loads(wire.content(records, wire.MACHINE))
    whole.update({'devices': [], 'backends': []})
    whole['cpu'].update({'properties': {}, 'features': []})
    whole['board'].update({'properties': {}, 'host-properties': {}, 'set': []})
    first = next(r for r in records if r.type == wire.CONFIGURATION)
    end = wire.Record(wire.END, wire.LAST, 0, b'')
    return wire.encode([*beginning(json.dumps(whole).encode()), first,
                        *keep, *description,
                        *index.encode(index.of(keep)), end])


def description(records, keep):
    """What the stream's description says of one section."""
    whole = json.loads(b''.join(record.payload for record in records
                                if record.type == wire.VMDESCRIPTION))
    whole['devices'] = [device for device in whole['devices']
                        if device['name'] == keep[0].name and
                        device['instance_id'] == keep[0].instance]
    return wire.Record(wire.VMDESCRIPTION, wire.LAST, 0,
                       json.dumps(whole, separators=(',', ':')).encode())


def save(directory, name, data):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / re.sub(r'[^A-Za-z0-9._-]+', '_', name)).write_bytes(data)


def say(kind, payload):
    return wire.Record(kind, wire.LAST, 0, payload)


def word(message, detail=0, text=b''):
    return say(HANDOVER, struct.pack('>IIQ', message, detail, TOKEN) + text)


def encode_return(records):
    """What goes the other way has no preamble."""
    data = b''
    for record in records:
        data += record.encode(len(data))
    return data


def conversations(facts):
    """Names and bytes of what either side hears, if these are the facts."""
    hello = say(HELLO, facts)
    pong = say(wire.RETURN_PATH, bytes.fromhex('0002000400000001'))
    return {
        'sent': wire.encode([*beginning(b'{}'), hello,
                             say(wire.CONFIGURATION, b'none'),
                             *index.encode([]), say(wire.END, b''),
                             word(RUN)]),
        'ran': encode_return([hello, pong, word(LOADED, 0x12345678),
                              word(RUNNING)]),
        'refused': encode_return([hello, word(REFUSED, 3, b'no\n' * 20)]),
        'babble': encode_return([word(REFUSED, 1, b'\xe9' * 2000)]),
        'word': word(REFUSED, 5, 'h\u00e9'.encode()).payload,
    }


def save_facts(directory, name, facts):
    """Whole, and with one device each."""
    def text(devices):
        return json.dumps({**facts, 'devices': devices},
                          separators=(',', ':')).encode()

    facts['token'] = f'{TOKEN:016x}'
    save(directory, name, text(facts['devices']))
    for device in facts['devices']:
        save(directory, f'{name}-{device["name"]}', text([device]))
    for what, data in conversations(text(facts['devices'][:2])).items():
        save(directory, f'{name}-{what}', data)


def operations(device):
    """A map that is about a device."""
    name = device.get('id', device['path'])
    properties = {**device['properties'], **device['host-properties']}
    return [*({'op': 'set-property', 'device': name, 'property': key,
               'value': value} for key, value in properties.items()
              if key not in ('addr', 'bus', 'id')),
            {'op': 'drop-device', 'device': name},
            {'op': 'rename', 'id': name, 'to': 'other'}]


def save_machines(directory, name, config):
    """Whole, and with one device and what is on it each."""
    def text(devices, changes):
        return json.dumps({**config, 'devices': devices, 'map': changes},
                          separators=(',', ':')).encode()

    save(directory, name, text(config['devices'], []))
    config['cpu']['properties'] = dict(
        itertools.islice(config['cpu']['properties'].items(), 4))
    del config['cpu']['features'][4:]
    for backend in config['backends']:
        part = [device for device in config['devices'] if
                backend['id'] in device['host-properties'].values()]
        save(directory, f'{name}-{backend["id"]}', text(part, [
            {'op': 'rename', 'kind': backend['kind'], 'id': backend['id'],
             'to': 'other'}]))
    config['backends'] = config['backends'][:2]
    for device in config['devices']:
        part = [other for other in config['devices'] if
                f'{other["path"]}/'.startswith(f'{device["path"]}/')]
        for number, change in enumerate(operations(device)[-4:]):
            save(directory, f'{name}-{device["path"]}-{number}',
                 text(part, [change]))


def main():
    target = pathlib.Path(sys.argv[1])
    for devices in SETS:
        for state in 'reset', 'stirred':
            records, facts, config = stream(devices, state == 'stirred')
            if state == 'stirred':
                save_machines(target / 'machines', devices, config)
            save_facts(target / 'facts', f'{devices}-{state}', facts)
            found = sections(records)
            for number, (name, keep) in enumerate(found):
                data = small(records, keep)
                if len(data) <= SEED_MAX:
                    save(target / devices, f'{number:03}-{name}-{state}', data)
                data = small(records, keep, description(records, keep))
                if len(data) <= DESCRIBED_MAX:
                    save(target / 'described', f'{devices}-{name}-{state}',
                         data)
            keep = [record for _, parts in found for record in parts]
            save(target / 'whole', f'{devices}-{state}', small(records, keep))
            for name, parts in found:
                if name == 'ram':
                    keep = [parts[0], *section(parts[0], packets())]
                    save(target / devices, f'packets-{state}',
                         small(records, keep))
    save(target / 'packets', 'all', encode_return(
        [wire.Record(wire.PACKET, wire.HEAD | wire.LAST, 0, p.encode())
         for part in packets() for p in part]))
    for machine in SMALL:
        data, facts, config = old(machine)
        save_machines(target / 'machines', machine, config)
        save(target / 'described', f'{machine}-3', data)
        save_facts(target / 'facts', machine, facts)


if __name__ == '__main__':
    main()
