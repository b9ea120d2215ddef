#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Which device a section of a version 4 stream is for: where names alone do
not tell, and where one side has a device that the other has not.
"""

import struct

from harness.qemu import BUILT, Qemu, tempdir, wait_migration
from harness.tap import Tap, check, equal
from interop.live import record_stream
from interop.loading import take, unwell
from interop.retrying import wait_failed
from interop.stream import Stream

MACHINE = 'pc-q35-7.2-v4'
DEVICE = '-device', 'virtio-rng-pci,addr=9'
# It is about what comes behind the machines, which differ.
ANYTHING = '-global', 'migration.config-check=off'
NAME = "'0000:00:09.0/virtio-rng' (instance 0)"


def refused(source, destination, *words):
    with tempdir() as directory:
        record_stream(MACHINE, directory, *source)
        with Qemu(BUILT, '-S', '-m', '16M', *destination, *ANYTHING,
                  machine=MACHINE, incoming='defer') as vm:
            vm.qmp('migrate-incoming',
                   uri=f'exec:cat {directory}/{MACHINE}.stream')
            wrong = unwell(wait_failed(vm), words=[*words, NAME, 'expected'])
            check(not wrong, wrong)


def one_name():
    """Two user networks are 'slirp', instance 0, both: each gets its own
    state, as what they send on tells."""
    nets = [word for net in range(2) for word in
            ('-netdev', f'user,id=net{net},net=10.0.{net}.0/24')]
    with tempdir() as directory:
        stream = Stream(record_stream(MACHINE, directory, *nets))
        records = [r for r in stream.records if r.name == 'slirp']
        equal(len(records), 2, 'sections of slirp')
        # Behind the sockets, of which there are none, is the number of the
        # next IP packet.
        marked = [b'\0' + struct.pack('>H', 4711 + number) +
                  stream.state(record)[3:]
                  for number, record in enumerate(records)]
        for record, state in zip(records, marked):
            stream.store(record, state)
        path = directory / 'marked'
        path.write_bytes(stream.encode())
        with Qemu(BUILT, '-S', '-m', '16M', *nets, machine=MACHINE,
                  incoming='defer') as vm:
            take(vm, path)
            sent = directory / 'sent'
            vm.qmp('migrate', uri=f'exec:cat > {sent}')
            wait_migration(vm)
        again = Stream(sent.read_bytes())
        equal([again.state(r) for r in again.records if r.name == 'slirp'],
              marked, 'states of the two networks')


with Tap('which device a section is for') as t:
    t.case('a device of the destination gets no state', refused, (), DEVICE,
           'got no state', 'the other side with it')
    t.case('a device that the destination lacks', refused, DEVICE, (),
           'no such device', 'the same devices')
    t.case('two devices of one name get each its own state', one_name)
