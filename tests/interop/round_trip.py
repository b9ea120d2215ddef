#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that travel: what arrives at a QEMU that is started with nothing
but -M incoming says the same of itself, sends the same sections when it goes
on, and the guest in it works.
"""

import re

from harness.guest import GuestConsole, make_disk, run_guest
from harness.qemu import (BUILT, Qemu, migrate, tempdir, wait_for,
                          wait_migration)
from harness.tap import Tap, check, equal
from interop.adopting import adopter
from interop.configs import (by_id, by_name, same, same_otherwise,
                             seen_otherwise)
from tool.run import run

Q35, PC = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
RAM = 'memory-backend-ram'
MODELS = ['qemu64', 'Penryn-v1', 'Skylake-Server-noTSX-IBRS', 'EPYC-Rome',
          'max,-avx2,family=9', 'pentium3', 'Nehalem,enforce=off,xlevel=7']


def disks(count):
    """Block nodes d0, d1, ... that need no file."""
    return [word for i in range(count) for word in (
        '-blockdev', f'null-co,node-name=d{i},size=67108864,read-zeroes=on')]


def nets(count):
    return [word for i in range(count) for word in (
        '-netdev', f'hubport,id=n{i},hubid={i}')]


def chars(count):
    return [word for i in range(count) for word in (
        '-chardev', f'null,id=c{i}')]


def devices(*each):
    return [word for device in each for word in ('-device', device)]


STORAGE = (
    *disks(13), *devices(
        'virtio-blk-pci,drive=d0,num-queues=3,write-cache=off',
        'virtio-scsi-pci,id=vs,num_queues=2',
        'scsi-hd,drive=d1,bus=vs.0,channel=0,scsi-id=5,lun=2,serial=x',
        'scsi-cd,bus=vs.0,id=cd', 'lsi53c895a,id=lsi',
        'scsi-hd,drive=d2,bus=lsi.0,wwn=0x1234', 'megasas,id=ms',
        'scsi-hd,drive=d3,bus=ms.0', 'mptsas1068,id=mpt',
        'scsi-hd,drive=d4,bus=mpt.0', 'pvscsi,id=pv',
        'scsi-hd,drive=d5,bus=pv.0', 'am53c974,id=am',
        'scsi-hd,drive=d6,bus=am.0', 'ahci,id=ahci',
        'ide-hd,drive=d7,bus=ahci.3,rotation_rate=1',
        'ide-cd,drive=d8,bus=ahci.0',
        'sdhci-pci', 'sd-card,drive=d9', 'qemu-xhci,id=xhci',
        'usb-storage,drive=d10,bus=xhci.0', 'usb-bot,id=bot,bus=xhci.0',
        'scsi-cd,drive=d11,bus=bot.0',
        'virtio-blk-pci-non-transitional,drive=d12,discard=off'))
NETWORK = (
    *nets(11), '-object', 'iothread,id=io', '-object', 'rng-builtin,id=rng',
    *devices(
        'virtio-net-pci,netdev=n0,mq=on,vectors=6,rss=on,'
        'mac=52:54:00:01:02:03',
        'e1000,netdev=n1', 'e1000-82544gc,netdev=n2', 'rtl8139,netdev=n3',
        'pcnet,netdev=n4', 'ne2k_pci,netdev=n5', 'i82559er,netdev=n6',
        'tulip,netdev=n7', 'vmxnet3,netdev=n8', 'e1000e,netdev=n9',
        'usb-ehci,id=u', 'virtio-rng-pci,rng=rng,max-bytes=999,period=500',
        'virtio-balloon-pci,deflate-on-oom=on,free-page-reporting=on',
        'virtio-net-pci-transitional,netdev=n10'))
USB_SOUND_INPUT = (
    *chars(2), '-audiodev', 'none,id=a', *devices(
        'ich9-usb-ehci1,id=e,addr=1d.7,multifunction=on',
        'ich9-usb-uhci1,masterbus=e.0,firstport=0,addr=1d.0,multifunction=on',
        'ich9-usb-uhci2,masterbus=e.0,firstport=2,addr=1d.1,multifunction=on',
        'usb-hub,bus=e.0,port=1,id=hub', 'usb-mouse,bus=e.0,port=1.3',
        'usb-kbd,bus=e.0', 'nec-usb-xhci,id=x,p2=8,p3=8',
        'usb-tablet,bus=x.0,port=5',
        'usb-ccid,bus=x.0',
        'pci-ohci,id=o',
        'intel-hda,id=hda', 'hda-duplex,audiodev=a,bus=hda.0,cad=2',
        'hda-micro,audiodev=a,bus=hda.0', 'ich9-intel-hda', 'AC97,audiodev=a',
        'ES1370,audiodev=a', 'virtio-keyboard-pci', 'virtio-mouse-pci',
        'virtio-tablet-pci', 'virtio-serial-pci,max_ports=7,id=vser',
        'virtserialport,chardev=c0,name=org.a,nr=4',
        'virtconsole,chardev=c1', 'virtserialport,name=b'))
ISA_SHOWS_OTHERS = (
    *chars(6), '-audiodev', 'none,id=a', '-serial', 'chardev:c0', '-serial',
    'none', '-parallel', 'chardev:c1', '-vga', 'cirrus', *devices(
        'isa-serial,chardev=c2,iobase=0x2e8,irq=5,index=3',
        'isa-parallel,chardev=c3,iobase=0x278,index=1', 'sb16,audiodev=a',
        'adlib,audiodev=a', 'cs4231a,audiodev=a', 'gus,audiodev=a',
        'ib700', 'i6300esb', 'pvpanic,ioport=0x600', 'pvpanic-pci',
        'vmcoreinfo', 'vmgenid,guid=12345678-9abc-def0-1234-56789abcdef0',
        'isa-debug-exit', 'isa-debugcon,chardev=c4', 'isa-applesmc',
        'pci-serial,chardev=c5',
        'bochs-display', 'secondary-vga', 'virtio-gpu-pci,max_outputs=2',
        'ipmi-bmc-sim,id=bmc', 'isa-ipmi-kcs,bmc=bmc', 'pci-testdev',
        'piix4-usb-uhci,id=uhci', 'usb-mouse,bus=uhci.0', 'ne2k_isa',
        'ramfb', 'tpci200,id=tpci'))
TOPOLOGY = (
    '-cpu', 'Westmere', '-smp', '4,maxcpus=8,sockets=2,cores=2,threads=2',
    '-m', '128M,slots=4,maxmem=4G', '-object', f'{RAM},id=m0,size=96M',
    '-object', f'{RAM},id=m1,size=32M', '-object', f'{RAM},id=m2,size=128M',
    '-object', f'{RAM},id=m3,size=128M', '-object', f'{RAM},id=m4,size=128M',
    '-numa', 'node,memdev=m0,cpus=0-3', '-numa', 'node,memdev=m1,cpus=4-7',
    '-numa', 'dist,src=0,dst=1,val=17', *disks(1), *nets(2), *devices(
        'intel-iommu,intremap=on,eim=off,aw-bits=48',
        'pc-dimm,memdev=m2,node=1,id=dimm',
        'virtio-mem-pci,memdev=m3,node=0,requested-size=64M,id=vmem',
        'nvdimm,memdev=m4,slot=3',
        'pcie-root-port,id=r0,chassis=1,addr=3.0,multifunction=on',
        'pcie-root-port,id=r1,chassis=2,addr=3.1,hotplug=off',
        'ioh3420,id=r2,chassis=3,addr=3.2',
        'pxb-pcie,id=pxb,bus_nr=64,numa_node=1',
        'pcie-root-port,id=r3,bus=pxb,chassis=4',
        'x3130-upstream,id=up,bus=r0', 'xio3130-downstream,id=dn,bus=up,'
                                       'chassis=5',
        'pcie-pci-bridge,id=bridge,bus=r1', 'pci-bridge,id=inner,bus=bridge,'
                                            'addr=2,chassis_nr=6',
        'virtio-blk-pci,drive=d0,bus=dn', 'virtio-net-pci,netdev=n0,bus=r3,'
        'disable-legacy=on,iommu_platform=on,ats=on',
        'e1000,netdev=n1,bus=inner,addr=7', 'virtio-rng-pci,bus=inner,addr=8',
        'Westmere-x86_64-cpu,socket-id=1,die-id=0,core-id=1,thread-id=1'))
BRIDGES = (
    *nets(2), *devices(
        'pci-bridge,id=b,chassis_nr=1,addr=9', 'pci-bridge,id=c,chassis_nr=2,'
                                               'bus=b,addr=1f,shpc=off',
        'e1000,bus=c,addr=1,netdev=n0,multifunction=on',
        'e1000,bus=c,addr=1.1,netdev=n1', 'pxb,id=x,bus_nr=128',
        'virtio-balloon-pci,bus=x,addr=2',
        'i82801b11-bridge,id=d,addr=a,bus=pci.0',
        'virtio-scsi-pci,bus=d,addr=1', 'scsi-cd', 'virtio-scsi-pci,bus=pci.0',
        'scsi-cd,bus=scsi.1,scsi-id=6', 'virtio-serial-pci,bus=b,addr=3',
        'virtio-serial-pci,bus=pci.0',
        'virtserialport,bus=virtio-serial-bus.1'))

PLUGGED = {
    Q35: ('pcie-root-port,id=p0,chassis=1', 'pcie-root-port,id=p1,chassis=2',
          'pcie-root-port,id=p2,chassis=3', 'pcie-pci-bridge,id=b,bus=p2'),
    PC: ('pci-bridge,id=p0,chassis_nr=1', 'pci-bridge,id=p1,chassis_nr=2',
         'pci-bridge,id=b,chassis_nr=3'),
}


# -- what happens to a machine before it travels

def plug(qemu, machine, image):
    """Plugs in one of each kind, with its back end."""
    def add(driver, **options):
        qemu.qmp('device_add', driver=driver, **options)

    qemu.qmp('netdev_add', type='hubport', id='late', hubid=7)
    add('virtio-net-pci', id='net9', netdev='late', bus='p0',
        mac='52:54:00:77:77:77', **({} if machine == Q35 else {'addr': '3'}))
    qemu.qmp('blockdev-add', **{
        'driver': 'qcow2', 'node-name': 'late', 'read-only': True,
        'file': {'driver': 'file', 'filename': str(image)}})
    add('virtio-blk-pci', id='disk9', drive='late', bus='p1',
        **({} if machine == Q35 else {'addr': '4'}))
    for i in 7, 8:
        qemu.qmp('blockdev-add', **{'driver': 'null-co', 'size': 1 << 20,
                                    'node-name': f's{i}',
                                    'read-zeroes': True})
        add('scsi-hd', id=f'scsi{i}', drive=f's{i}', bus='scsi.0',
            **{'scsi-id': i})
    for name in 'dimm1', 'dimm2':
        qemu.qmp('object-add', **{'qom-type': RAM, 'id': f'{name}-memory',
                                  'size': 128 << 20})
        add('pc-dimm', id=name, memdev=f'{name}-memory')
    add('qemu64-x86_64-cpu', id='cpu2', **{'socket-id': 2, 'core-id': 0,
                                           'thread-id': 0})
    add('usb-kbd', id='first', bus='usb.0')
    add('usb-mouse', id='second', bus='usb.0')
    add('usb-tablet', bus='usb.0')
    qemu.qmp('chardev-add', id='chr', backend={
        'type': 'ringbuf', 'data': {'size': 4096}})
    add('virtserialport', id='port', chardev='chr', bus='ser.0', name='z')


def gone(qemu, name):
    """Unplugs a device, for which the guest may be asked."""
    def deleted():
        return any(e['event'] == 'DEVICE_DELETED' and
                   e['data'].get('device') == name for e in qemu.events())

    qemu.qmp('device_del', id=name)
    wait_for(deleted, 60, lambda: f'{name} is still there')


def unplug(qemu):
    """Takes some of that away again, which leaves gaps."""
    gone(qemu, 'first')
    gone(qemu, 'scsi7')
    qemu.qmp('blockdev-del', **{'node-name': 's7'})


def change_media(qemu, image):
    """One is put in, one is taken out, one was never there."""
    qemu.qmp('blockdev-change-medium', id='cd1', filename=str(image),
             format='qcow2', **{'read-only-mode': 'read-only'})
    qemu.qmp('blockdev-open-tray', id='cd2', force=True)
    qemu.qmp('blockdev-remove-medium', id='cd2')
    qemu.qmp('blockdev-close-tray', id='cd2')


# -- there, and on

def sections(path, sizes=True):
    """Names, instances, versions and sizes; RAM is sent as it is."""
    rows = re.findall(r'^ *\d+  (\S+) +(\d+) +(\d+) +\d+ +(\d+)  ',
                      run('info', path).good().out, re.M)
    check(len(rows) > 20, f'{len(rows)} sections')
    return [row[:3] if row[0] == 'ram' or not sizes else row for row in rows]


def to_file(qemu, path):
    """Goes there, and is whole."""
    size = migrate(qemu, f'file:{path}')['stream']['bytes']
    equal(path.stat().st_size, size, 'size')
    return path


def travel(machine, *args, prepare=None):
    """A machine that never ran, into a file, and on into another.  What was
    plugged in later is sent in another place, and a hub that QEMU has put
    between is there before what is on it."""
    with tempdir() as directory:
        with Qemu(BUILT, '-S', *(() if '-m' in args else ('-m', '32M')), *args,
                  machine=machine) as src:
            if prepare:
                prepare(src)
            before, seen = src.qmp('query-machine-config'), seen_otherwise(src)
            first = to_file(src, directory / 'first')
        with adopter('-S', options=',backends=trust',
                     incoming=f'file:{first}') as dst:
            info = wait_migration(dst)
            after = dst.qmp('query-machine-config')
            seen_2 = seen_otherwise(dst)
            second = to_file(dst, directory / 'second')
        same(before, after, ignore=['hotplugged'])
        equal(info.get('machine-differences', []), [], 'differences')
        order = sorted if prepare else list
        same_otherwise(seen, seen_2, order)
        equal(order(sections(second)), order(sections(first)), 'sections')
    return after


def hot_plugged(machine):
    with tempdir() as other:
        image = make_disk(other / 'image', '1M')

        def prepare(qemu):
            plug(qemu, machine, image)
            unplug(qemu)
            change_media(qemu, image)

        after = travel(
            machine, '-m', '64M,slots=4,maxmem=2G', '-smp',
            '1,maxcpus=4,sockets=4', *disks(1),
            *devices(*PLUGGED[machine], 'virtio-scsi-pci,id=scsi',
                     'qemu-xhci,id=usb', 'usb-tablet,bus=usb.0',
                     'virtio-serial-pci,id=ser',
                     'scsi-cd,id=cd1,bus=scsi.0,scsi-id=1',
                     'scsi-cd,id=cd2,bus=scsi.0,scsi-id=2,drive=d0',
                     'scsi-cd,id=cd3,bus=scsi.0,scsi-id=3'),
            prepare=prepare)
    equal(by_id(after, 'second')['address'], '3', 'port of a mouse')
    check(any(d['driver'] == 'usb-hub' for d in after['devices']),
          'the last port has no hub')
    medium = by_name(after, 'block',
                     by_id(after, 'cd1')['host-properties']['drive'])
    equal(medium['guest']['removable'], True, 'a medium that was put in')
    equal(by_id(after, 'cd2')['host-properties']['drive'], '',
          'a medium that was taken out')
    check(not any(d.get('id') in ('first', 'scsi7')
                  for d in after['devices']), 'what was unplugged')


def spare(machine):
    """Back ends that no device has: those that lead to the host, or to such,
    need not be given."""
    with tempdir() as directory:
        with Qemu(BUILT, '-S', '-m', '32M', '-netdev',
                  'socket,id=s,udp=127.0.0.1:9,localaddr=127.0.0.1:0',
                  '-netdev', 'hubport,id=a,hubid=1,netdev=s', '-netdev',
                  'hubport,id=b,hubid=2', *disks(1), *chars(1), '-chardev',
                  f'file,id=log,path={directory}/log', '-object',
                  'rng-builtin,id=rng', machine=machine) as src:
            path = to_file(src, directory / 'stream')
        with adopter('-S', incoming=f'file:{path}') as dst:
            wait_migration(dst)
            equal(sorted(b['id'] for b in dst.qmp('query-machine-config')
                         ['backends']), ['b', 'c0', 'd0', 'rng'], 'back ends')


# -- with a guest that works

USES = re.compile(r'beat (\d+) .* disk (\d+) rng (\d+) net (\d+)')


def works(console):
    """Waits until the guest has used each of its devices some more."""
    def uses():
        console.check()
        found = USES.findall(console.text())
        return tuple(map(int, found[-1][1:])) if found else (0, 0, 0)

    start = wait_for(lambda: all(uses()) and uses(), 60,
                     lambda: f'the guest says {console.text()[-300:]}')
    wait_for(lambda: all(now >= then + 5
                         for now, then in zip(uses(), start)), 60,
             lambda: f'the guest went from {start} to {uses()} only')


def adopt_guest(path, console):
    dst = adopter('-chardev', f'file,id=console,path={console}',
                  incoming=f'file:{path}', options=',backends=trust')
    dst.console = GuestConsole(console, dst)
    return dst


def guest_goes_on(machine):
    """Twice; what was plugged in, and out, while it ran goes with it."""
    with tempdir() as directory:
        disk = make_disk(directory / 'disk.qcow2')
        image = make_disk(directory / 'image', '1M')
        ports = devices(*(f'{d},addr=0x{20 + i:x}' if 'bus=' not in d else d
                          for i, d in enumerate(PLUGGED[machine])))
        with run_guest(BUILT, disk, directory / 'console', '-m',
                       '256M,slots=4,maxmem=2G', '-smp',
                       '1,maxcpus=4,sockets=4', *ports, *disks(1),
                       *devices('virtio-scsi-pci,id=scsi,addr=0x18',
                                'virtio-serial-pci,id=ser,addr=0x19',
                                'scsi-cd,id=cd1,bus=scsi.0,scsi-id=1',
                                'scsi-cd,id=cd2,bus=scsi.0,scsi-id=2,'
                                'drive=d0'), machine=machine) as src:
            src.console.wait_booted()
            plug(src, machine, image)
            change_media(src, image)
            unplug(src)
            works(src.console)
            gone(src, 'net9')
            gone(src, 'disk9')
            before = src.qmp('query-machine-config')
            first = to_file(src, directory / 'first')
            src.kill()
        with adopt_guest(first, directory / 'console2') as there:
            there.wait_status('running')
            works(there.console)
            same(before, there.qmp('query-machine-config'),
                 ignore=['hotplugged'], given=['console'])
            second = to_file(there, directory / 'second')
            there.kill()
        equal(sorted(sections(second, False)), sorted(sections(first, False)),
              'sections')
        with adopt_guest(second, directory / 'console3') as third:
            third.wait_status('running')
            works(third.console)
            third.console.wait_generations(1)


MACHINES = {
    'storage': (Q35, STORAGE), 'network': (PC, NETWORK),
    'USB, sound and input': (Q35, USB_SOUND_INPUT),
    'ISA, displays and others': (PC, ISA_SHOWS_OTHERS),
    'topology and memory': (f'{Q35},nvdimm=on,kernel-irqchip=split', TOPOLOGY),
    'bridges': (PC, BRIDGES),
}

with Tap('machines that travel') as t:
    for title, (machine_, args_) in MACHINES.items():
        t.case(title, travel, machine_, *args_)
    for machine_ in Q35, PC:
        t.case(f'{machine_}: plugged in and out, and media', hot_plugged,
               machine_)
    t.case('back ends that nothing leads to', spare, Q35)
    for model in MODELS:
        t.case(f'CPU {model}', travel, PC, '-cpu', model, '-smp',
               '3,sockets=1,cores=3')
    for machine_ in Q35, PC:
        t.case(f'{machine_}: a guest goes on', guest_goes_on, machine_)
