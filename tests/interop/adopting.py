# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMUs that become the machine that arrives, and what they have become.

Not a test: no TAP in here.
"""

from harness.qemu import BUILT, Qemu, start_migration, wait_migration
from harness.tap import equal

ANYWHERE = 'tcp:127.0.0.1:0'

# A machine that needs nothing of the host.
DISK = 'null-co,node-name=%s,size=1048576,read-zeroes=on'
HARMLESS = [
    '-m', '32M,slots=2,maxmem=128M', '-smp', '2,maxcpus=4',
    '-cpu', 'Nehalem,-aes', '-vga', 'std', '-serial', 'null',
    '-object', 'iothread,id=thread', '-object', 'rng-builtin,id=rng',
    '-object', 'memory-backend-ram,id=dimm,size=32M',
    '-device', 'pc-dimm,id=more,memdev=dimm',
    '-blockdev', DISK % 'disk', '-blockdev', DISK % 'second',
    '-device', 'virtio-blk-pci,id=vblk,drive=disk,iothread=thread,'
               'serial=a-serial,addr=0x8',
    '-netdev', 'hubport,id=port,hubid=1',
    '-device', 'virtio-net-pci,id=net,netdev=port,mac=52:54:00:12:34:01,'
               'addr=0x9',
    '-device', 'virtio-rng-pci,rng=rng', '-device', 'qemu-xhci,id=usb',
    '-device', 'usb-tablet,bus=usb.0,port=2',
    '-device', 'ich9-usb-ehci1,id=ehci,addr=0x1c.7,multifunction=on',
    '-device', 'ich9-usb-uhci1,masterbus=ehci.0,addr=0x1c.0,multifunction=on',
    '-chardev', 'null,id=one', '-device', 'virtio-keyboard-pci',
    '-chardev', 'ringbuf,id=two', '-device', 'pci-serial,chardev=two',
    '-device', 'virtio-scsi-pci,id=scsi',
    '-device', 'scsi-hd,bus=scsi.0,scsi-id=3,drive=second',
]


def adopter(*args, incoming=ANYWHERE, options='', **kwargs):
    """A QEMU that knows nothing of its machine but what is given here.

    options   what stands behind '-M incoming'
    """
    return Qemu(BUILT, *args, machine='incoming' + options, accel=None,
                incoming=incoming, defaults=True,
                **{'name': 'destination', **kwargs})


def machine_of(vm, given=()):
    """query-machine-config, but for how a device came to be there, for the
    order of back ends, and for what the host has of those that were given."""
    config = vm.qmp('query-machine-config')
    for device in config['devices']:
        device.pop('hotplugged', None)
    config['backends'].sort(key=lambda each: (each['kind'], each['id']))
    for backend in config['backends']:
        if backend['id'] in given:
            backend['type'] = backend['host'] = None
    return config


def differing(one, other, path=''):
    """The places at which two values differ, each with both."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differing(one.get(key), other.get(key), f'{path}.{key}')
    elif isinstance(one, list) and isinstance(other, list):
        for at in range(max(len(one), len(other))):
            yield from differing(one[at] if at < len(one) else None,
                                 other[at] if at < len(other) else None,
                                 f'{path}[{at}]')
    elif one != other:
        yield f'{path}: {one!r} became {other!r}'


def same_machine(src, dst, given=()):
    """Raises unless two QEMUs have the same machine."""
    equal(list(differing(machine_of(src, given), machine_of(dst, given))), [],
          'what became something else')


def failing(src, uri, **params):
    """A migration that must fail; returns why it did, to the source."""
    start_migration(src, uri, params=params)
    return wait_migration(src, 'failed').get('error-desc', 'no reason')


def arrived(vm):
    """Waits until the guest is there, and returns query-migrate."""
    return wait_migration(vm)
