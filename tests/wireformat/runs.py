# SPDX-License-Identifier: GPL-2.0-or-later
"""Every machine type with each set of devices that it can have, and the
streams that they send.
"""

import contextlib
import threading

from harness.qemu import BUILT, Qemu, migrate
from witness import byte_identity, machines
from wireformat import version3, version4

MEMORY = ['-S', '-m', '32M', '-smp', '1', '-uuid', machines.UUID,
          '-rtc', 'base=2020-01-01,clock=vm']

# Machine types that are no PC with PCI, and what is plugged into them.
OTHERS = {
    'none': [],
    'isapc': '-device ne2k_isa -device sb16,audiodev=sound '
             '-device gus,audiodev=sound -device cs4231a,audiodev=sound '
             '-device adlib,audiodev=sound -device ib700 -device pvpanic '
             '-device ipmi-bmc-sim,id=bmc -device isa-ipmi-kcs,bmc=bmc '
             '-serial null -parallel null -audiodev none,id=sound '
             '-drive if=floppy,driver=null-co,size=1474560,read-zeroes=on '
             '-drive if=ide,index=0,driver=null-co,size=16777216'.split(),
    'microvm': '-device virtio-net-device,mac=52:54:00:00:01:01 '
               '-blockdev null-co,node-name=disk,size=16777216,'
               'read-zeroes=on -device virtio-blk-device,drive=disk '
               '-device virtio-serial-device -device virtconsole,chardev=char '
               '-chardev null,id=char -device virtio-rng-device '
               '-device virtio-scsi-device -device virtio-balloon-device '
               '-device virtio-keyboard-device -serial null'.split(),
}

# Capabilities that go into the configuration, on the newest machine types.
CAPABILITIES = {'x-ignore-shared': True, 'validate-uuid': True}
NEWEST = '7.2'


def is_newest(machine):
    return machines.model(machine).endswith(f'-{NEWEST}')


def sets(types):
    """{set: [machine types]}, both in the order of the record."""
    pcs = byte_identity.in_order(types)
    return {**{devices: pcs for devices in machines.SETS},
            'capabilities': list(filter(is_newest, pcs)),
            **{machine: [machine] for machine in OTHERS}}


@contextlib.contextmanager
def _machine(devices, machine):
    if devices in OTHERS:
        with Qemu(BUILT, *MEMORY, *OTHERS[devices], machine=machine,
                  defaults=True) as vm:
            yield vm
        return
    plugged = devices if devices in machines.SETS else 'bare'
    with byte_identity.machine(BUILT, machine, plugged) as vm:
        yield vm


def items(work, devices, machine):
    """The Items of what a machine type with a set of devices sends."""
    path = work / f'{threading.get_ident()}.stream'
    where = {'path': '/machine', 'property': 'suppress-vmdesc'}
    with _machine(devices, machine) as vm:
        if devices == 'capabilities':
            vm.set_caps(**CAPABILITIES)
        suppressed = vm.qmp('qom-get', **where)
        vm.qmp('qom-set', **where, value=False)
        stream = migrate(vm, f'exec:cat >{path}').get('stream')
    data = path.read_bytes()
    path.unlink()
    return (version4 if stream else version3).read(data, not suppressed)
