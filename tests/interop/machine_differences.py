#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""In what two machines can differ: what the guest could notice is refused
before a page of its memory is sent, on both sides with the same words and with
an advice that helps; what it can't notice is no difference.
"""

import contextlib
import dataclasses
import json

from harness.qemu import migrate, start_migration, tempdir, wait_migration
from harness.tap import Tap, check, equal
from interop.differing import MAC, destination, follow, line, source
from interop.retrying import wait_failed

EARLY = 64 << 10        # more than a machine's description and a hello take
DISK = 'null-co,node-name=d0,read-zeroes=on'


@dataclasses.dataclass
class Row:
    """Something that differs.

    name      what
    there     parts of the destination's command line that are others
    prop      the property that is named
    of        id or path of what it is about
    shown     what is in the values of both, as JSON; None: it is not there
    advice    what is in it; None: there is none
    follow    whether it is something that a program can do
    here      parts of the source's that are others
    plug      (command, arguments) of QMP, on the source
    """
    name: str
    there: dict
    prop: str
    of: str = None
    shown: tuple = None
    advice: str = None
    follow: bool = True
    here: dict = dataclasses.field(default_factory=dict)
    plug: list = dataclasses.field(default_factory=list)


def nic(text):
    return {'net': f'-device virtio-net-pci,id=net0,netdev=n0,{text}'}


def also(text):
    return {'more': text}


def plug(driver, **properties):
    return 'device_add', {'driver': driver, **properties}


def memory(text):
    return {'memory': f'-m {text}'}


SMP = ',maxcpus=2'
DIMM = '-object memory-backend-ram,id=m1,size=32M'
SLOTS = memory('64M,slots=2,maxmem=256M')

TABLE = [
    # The board
    Row('another machine type', {'machine': '-machine pc-i440fx-7.2-v4',
                                 'port': '', 'cd': ''},
        'type', shown=('pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'),
        advice='start with -machine pc-q35-7.2-v4', follow=False),
    Row('less memory', memory('32M'), 'memory.size',
        shown=(64 << 20, 32 << 20), advice='start with -m size=64M'),
    Row('more memory', memory('96M'), 'memory.size',
        shown=(64 << 20, 96 << 20), advice='start with -m size=64M'),
    Row('memory of an odd size', {}, 'memory.size', here=memory('8200K'),
        shown=(8200 << 10, 64 << 20), advice='start with -m size=8200K'),
    Row('memory that can grow', memory('64M,slots=2,maxmem=128M'),
        'memory.max-size', shown=(64 << 20, 128 << 20),
        advice='start with -m size=64M,slots=0,maxmem=64M'),
    Row('memory that can grow more', memory('64M,slots=2,maxmem=128M'),
        'memory.max-size', shown=(256 << 20, 128 << 20),
        here=SLOTS, advice='maxmem=256M'),
    Row('more CPUs', {'smp': '-smp 2,maxcpus=2'}, 'smp',
        shown=({'cpus': 1}, {'cpus': 2}), advice='start with -smp cpus=1,'),
    Row('other sockets and cores',
        {'smp': '-smp 1,maxcpus=2,sockets=2,cores=1'}, 'smp',
        shown=({'cores': 2}, {'cores': 1}), advice='start with -smp '),
    Row('a machine property', {'machine': '-machine pc-q35-7.2-v4,smm=off'},
        'smm', shown=('auto', 'off'), advice='start with -machine smm=auto'),
    Row('another one', {'machine': '-machine pc-q35-7.2-v4,sata=off',
                        'cd': ''},
        'sata', shown=(True, False), advice='start with -machine sata=on',
        follow=False),
    Row('a NUMA node', {'numa': '-object memory-backend-ram,id=pc.ram,size=64M '
                            '-numa node,nodeid=0,memdev=pc.ram'}, 'numa',
        advice='the same -numa options', follow=False),
    Row('other tables', {'tables': '-fw_cfg name=opt/a,string=x'},
        '-smbios', shown=('type=1,serial=17', None),
        advice='start with -smbios type=1,serial=17'),
    Row('more tables', also('-smbios type=2,serial=18'),
        '-smbios', shown=(None, 'type=2,serial=18'),
        advice='start without -smbios type=2,serial=18'),
    Row('a file of the firmware', {'tables': '-smbios type=1,serial=17'},
        '-fw_cfg', advice='start with -fw_cfg name=opt/a'),
    Row('a default for its devices', also('-global ICH9-LPC.disable_s3=1'),
        'disable_s3', of='/q35-pcihost/pcie.0/1f.0', shown=(0, 1),
        advice='start with -global ICH9-LPC.disable_s3=0'),
    # CPUs
    Row('another CPU', {'cpu': '-cpu Nehalem'}, 'cpu.model',
        shown=('qemu64', 'Nehalem'), advice='start with -cpu qemu64'),
    Row('another CPU with options', {}, 'cpu.model',
        here={'cpu': '-cpu Nehalem,smap=on'},
        shown=('Nehalem', 'qemu64'), advice='start with -cpu Nehalem,smap=on'),
    Row('a feature less', {'cpu': '-cpu qemu64,cx16=off'},
        'cpu.features.cx16', shown=(True, False),
        advice='start with -cpu qemu64,cx16=on'),
    Row('a feature more', {'cpu': '-cpu qemu64,smap=on'},
        'cpu.features.smap', shown=(False, True),
        advice='start with -cpu qemu64,smap=off'),
    Row('another level of the CPU', {'cpu': '-cpu qemu64,level=11'},
        'cpu.level', shown=(13, 11), advice='start with -cpu qemu64,level=13'),
    # Devices
    Row('no NIC', {'net': ''}, 'device', of='net0',
        shown=({'driver': 'virtio-net-pci', 'mac': MAC}, None),
        advice='add -device virtio-net-pci,'),
    Row('no disk', {'disk': ''}, 'device', of='disk0',
        shown=({'driver': 'virtio-blk-pci'}, None),
        advice='drive=d0'),
    Row('a device more', also('-device virtio-rng-pci,id=rng0,addr=9'),
        'device', of='rng0', shown=(None, {'driver': 'virtio-rng-pci'}),
        advice='leave -device virtio-rng-pci,id=rng0 out'),
    Row('another driver', {'net': f'-device e1000,id=net0,netdev=n0,mac={MAC},'
                                  'addr=4'},
        'driver', of='net0', shown=({'driver': 'virtio-net-pci'},
                                    {'driver': 'e1000'}),
        advice='add -device virtio-net-pci,', follow=False),
    Row('another address', nic(f'mac={MAC},addr=8'), 'address', of='net0',
        shown=('04.0', '08.0'), advice='give addr=04.0'),
    Row('another bus', nic(f'mac={MAC},bus=rp0'), 'address', of='net0',
        advice='give bus=pcie.0,addr=04.0'),
    Row('another MAC', nic('mac=52:54:00:00:00:02,addr=4'), 'mac', of='net0',
        shown=(MAC, '52:54:00:00:00:02'), advice=f'give mac={MAC}'),
    Row('fewer features of a device', nic(f'mac={MAC},addr=4,guest_tso4=off'),
        'guest_tso4', of='net0', shown=(True, False),
        advice='give guest_tso4=on'),
    Row('another number of queues',
        {'disk': '-device virtio-blk-pci,id=disk0,drive=d0,serial=abc,addr=5,'
                 'num-queues=3'}, 'num-queues', of='disk0',
        shown=(1, 3), advice='give num-queues=1'),
    Row('another serial number',
        {'disk': '-device virtio-blk-pci,id=disk0,drive=d0,serial=x,addr=5'},
        'serial', of='disk0', shown=('abc', 'x'), advice='give serial=abc'),
    Row('no card to plug into', {'port': ''}, 'device', of='rp0',
        shown=({'driver': 'pcie-root-port', 'chassis': 1}, None),
        advice='add -device pcie-root-port,'),
    Row('another LUN', {'hd': '-device scsi-hd,id=hd0,bus=scsi0.0,drive=d1,'
                              'scsi-id=1,lun=2'},
        'address', of='hd0', advice='give lun=1'),
    Row('another USB port', {'tablet': '-device usb-tablet,id=tablet0,'
                                       'bus=xhci.0,port=3'},
        'address', of='tablet0', advice='give port=2'),
    Row('no CD drive', {'cd': ''}, 'device', of='cd0',
        advice='add -device ide-cd,'),
    Row('no serial port', {'serial': ''}, 'device',
        of='/q35-pcihost/pcie.0/1f.0/isa.0/3f8',
        shown=({'driver': 'isa-serial'}, None),
        advice='start with -serial chardev:c0'),
    Row('a display', also('-vga std'), 'device',
        shown=(None, {'driver': 'VGA'}),
        advice='start without -vga std'),
    # Disks
    Row('a larger disk', {'blockdev': f'-blockdev {DISK},size=2097152'},
        'drive.size', of='disk0', shown=(1 << 20, 2 << 20), follow=False),
    Row('a disk that is read-only',
        {'blockdev': f'-blockdev {DISK},size=1048576,read-only=on'},
        'drive.read-only', of='disk0', shown=(False, True), follow=False),
    # What was plugged in
    Row('what was plugged in', {}, 'device', of='rng0',
        shown=({'driver': 'virtio-rng-pci', 'bus': 'rp0'}, None),
        plug=[plug('virtio-rng-pci', id='rng0', bus='rp0')],
        advice='add -device virtio-rng-pci,'),
    Row('a USB device that was plugged in', {}, 'device', of='mouse0',
        plug=[plug('usb-mouse', id='mouse0', bus='xhci.0', port='4')],
        advice='add -device usb-mouse,'),
    Row('a disk that was plugged in', also('-blockdev null-co,node-name=d2'),
        'device', of='hd2', here=also('-blockdev null-co,node-name=d2'),
        plug=[plug('scsi-hd', id='hd2', bus='scsi0.0', drive='d2', lun=4,
                   **{'scsi-id': 3})],
        advice='add -device scsi-hd,'),
    Row('a CPU that was plugged in', {}, 'device', of='cpu1',
        plug=[plug('qemu64-x86_64-cpu', id='cpu1',
                   **{'socket-id': 0, 'core-id': 1, 'thread-id': 0})],
        advice='add -device qemu64-x86_64-cpu,'),
    Row('memory that was plugged in', SLOTS | also(DIMM), 'device', of='dimm1',
        here=SLOTS | also(DIMM),
        plug=[plug('pc-dimm', id='dimm1', memdev='m1')],
        advice='add -device pc-dimm,'),
    Row('another size of what was plugged in',
        SLOTS | also('-object memory-backend-ram,id=m1,size=64M '
                     '-device pc-dimm,id=dimm1,memdev=m1'),
        'memdev.size', of='dimm1', here=SLOTS | also(DIMM),
        plug=[plug('pc-dimm', id='dimm1', memdev='m1')], follow=False),
]

# What the guest can't notice
UNNOTICED = {
    'another network': {'netdev': '-netdev socket,id=n0,listen=127.0.0.1:0'},
    'another id of the network': {
        'netdev': '-netdev hubport,id=other,hubid=3',
        'net': f'-device virtio-net-pci,id=net0,netdev=other,mac={MAC},addr=4'
    },
    'another file of a disk': {
        'blockdev': '-blockdev raw,node-name=d0,file.driver=null-co,'
                    'file.size=1048576,file.read-zeroes=on'},
    'another id of a disk': {
        'blockdev': '-blockdev null-co,node-name=x,size=1048576',
        'disk': '-device virtio-blk-pci,id=disk0,drive=x,serial=abc,addr=5'},
    'another cache mode': {
        'blockdev': f'-blockdev {DISK},size=1048576,cache.direct=on'},
    'a disk by -drive': {
        'blockdev': '-drive driver=null-co,size=1048576,if=none,id=d0'},
    'a thread of its own': {
        'disk': '-object iothread,id=t0 -device virtio-blk-pci,id=disk0,'
                'drive=d0,serial=abc,addr=5,iothread=t0'},
    'what to do about errors': {
        'disk': '-device virtio-blk-pci,id=disk0,drive=d0,serial=abc,addr=5,'
                'rerror=stop,werror=report'},
    'no ioeventfd': nic(f'mac={MAC},addr=4,ioeventfd=off'),
    'another kind of character device': {
        'chardev': '-chardev ringbuf,id=c0,size=1024'},
    'another id of a character device': {
        'chardev': '-chardev null,id=other', 'serial': '-serial chardev:other'
    },
    'memory from another back end': {
        'memory': '-m 64M -object memory-backend-memfd,id=pc.ram,size=64M '
                  '-machine memory-backend=pc.ram'},
    'threads of the accelerator': also('-accel tcg,thread=single'),
    'a name': also('-name somebody'),
    'objects that nobody needs': also('-object rng-builtin,id=r0'),
    'other parameters': also('-global migration.peer-timeout=50000'),
}

# What it could, and does without
REMARKED = {
    'what it boots from': ({'boot': '-boot order=n'}, 'boot'),
    'what it boots from first': (nic(f'mac={MAC},addr=4,bootindex=1'),
                                 'bootindex'),
}


def part_of(value, whole):
    """Is it that, or the members of that, or in that text?"""
    if isinstance(value, dict):
        return all(whole.get(key) == one for key, one in value.items())
    if isinstance(value, str):
        return value in whole
    return type(value) is type(whole) and value == whole


def is_it(row, difference):
    return row.prop == difference['property'] and row.of in (
        None, difference.get('id'), difference.get('path'))


def check_row(row, differences):
    """It is there, once, with all that has to be; returns it."""
    found = [d for d in differences if is_it(row, d)]
    equal(len(found), 1, f'differences like it in {differences}')
    found = found[0]
    check(found['fatal'] and found['guest-visible'], f'not fatal: {found}')
    for side, shown in zip(('source', 'destination'), row.shown or ()):
        equal(side in found, shown is not None, f'{side} in {found}')
        if shown is not None:
            check(part_of(shown, json.loads(found[side])),
                  f'expected {shown!r} as {side} of {found}')
    equal('advice' in found, row.advice is not None or 'advice' in found and
          not row.follow, f'advice in {found}')
    if row.advice:
        check(row.advice in found['advice'], f'{row.advice!r}: {found}')
    return found


def refused(src, arguments):
    """Tries to migrate to another machine; what differs."""
    with destination(arguments) as dst:
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        start_migration(src, dst.listens_at())
        info = wait_migration(src, 'failed')
        why = wait_failed(dst)
        differences = dst.qmp('query-migrate')['machine-differences']
        fatal = [d for d in differences if d['fatal']]
        equal(differences[:len(fatal)], fatal, 'what is fatal comes first')
        said, printed = dst.stderr(), dst.hmp('info migrate')
    told = info['error-desc']
    check("refused (phase 'machine')" in told, told)
    for difference in fatal[:8]:
        for words in why, told, said, printed:
            for key in 'id', 'path', 'property':
                check(difference.get(key, '')[:150] in words,
                      f'{key} of {difference} is not in: {words}')
    equal(src.status(), 'running', 'status of the source')
    sent = info['stream']['bytes'] if 'stream' in info else 0
    check(sent < EARLY, f'{sent} bytes were sent')
    equal(info.get('ram', {}).get('transferred', 0), 0, 'memory that was sent')
    return differences


def accepted(src, arguments, *more):
    """Migrates, and lets the source run on; what was told on both sides."""
    with destination(arguments, *more) as dst:
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        info = migrate(src, dst.listens_at())
        dst.wait_status('running')
        found = dst.qmp('query-migrate').get('machine-differences', [])
        said = dst.stderr()
    equal(info.get('machine-differences', []), found,
          'what the source was told')
    src.qmp('cont')
    return found, said


def differs(shared, row):
    with contextlib.ExitStack() as exits:
        src = shared
        if shared.status() != 'running':        # a case has failed
            shared.qmp('cont')
        if row.here or row.plug:
            src = exits.enter_context(source(line(**row.here)))
        for command, arguments in row.plug:
            src.qmp(command, **arguments)
        arguments = line(**row.there)
        found = check_row(row, refused(src, arguments))
        if row.follow:
            arguments = follow(arguments, found)
            left, _ = accepted(src, arguments)
            equal(left, [], f'differences, with {found["advice"]!r} followed')


def firmware(shared, directory):
    """One of another size is refused, one that is as long is remarked."""
    for size, fatal in (256 << 10, False), (128 << 10, True):
        path = directory / f'bios-{size}'
        data = (0xf4).to_bytes(1, 'little') * size      # hlt
        path.write_bytes(data)
        arguments = line(firmware=f'-bios {path}')
        found = (refused(shared, arguments) if fatal
                 else accepted(shared, arguments)[0])
        what = 'size' if fatal else 'checksum'
        equal([d['fatal'] for d in found if d['property'] ==
               f'ram-blocks.pc.bios.{what}'], [fatal], f'in {found}')


def unnoticed(shared, change):
    found, said = accepted(shared, line(**change))
    equal(found, [], 'differences')
    check('machine' not in said, said)


def remarked(shared, change, prop):
    found, said = accepted(shared, line(**change))
    equal([(d['property'], d['fatal'], d['guest-visible']) for d in found],
          [(prop, False, True)], 'differences')
    check('not quite this one' in said and prop in said, said)


def main(t):
    with source(line()) as src, tempdir() as directory:
        t.case('the same', unnoticed, src, {})
        for row in TABLE:
            t.case(row.name, differs, src, row)
        t.case('another firmware', firmware, src, directory)
        for name, change in UNNOTICED.items():
            t.case(f'not noticed: {name}', unnoticed, src, change)
        for name, (change, prop) in REMARKED.items():
            t.case(f'no harm: {name}', remarked, src, change, prop)


with Tap('in what two machines can differ') as tap:
    main(tap)
