# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine with something of everything, copies of it that differ in one
thing, and what a command line becomes when one follows an advice.

Not a test: no TAP in here.
"""

import re
import shlex

from harness.qemu import BUILT, WHOLE, Qemu

V4 = 'pc-q35-7.2-v4'
MAC = '52:54:00:00:00:01'

# In parts that can be replaced or left out.  Back ends have nothing behind
# them; what is there of the guest is the firmware.
BASE = {
    'machine': f'-machine {V4}',
    'memory': '-m 64M',
    'cpu': '-cpu qemu64',
    'smp': '-smp 1,maxcpus=2',
    'numa': '',
    'boot': '',
    'firmware': '',
    'tables': '-smbios type=1,serial=17 -fw_cfg name=opt/a,string=x',
    'port': '-device pcie-root-port,id=rp0,chassis=1,slot=1,addr=3',
    'netdev': '-netdev hubport,id=n0,hubid=7',
    'net': f'-device virtio-net-pci,id=net0,netdev=n0,mac={MAC},addr=4',
    'blockdev': '-blockdev null-co,node-name=d0,size=1048576,read-zeroes=on',
    'disk': '-device virtio-blk-pci,id=disk0,drive=d0,serial=abc,addr=5',
    'scsi': '-device virtio-scsi-pci,id=scsi0,addr=6',
    'hdnode': '-blockdev null-co,node-name=d1,size=1048576,read-zeroes=on',
    'hd': '-device scsi-hd,id=hd0,bus=scsi0.0,drive=d1,scsi-id=1,lun=1',
    'cd': '-device ide-cd,id=cd0,bus=ide.0',
    'usb': '-device qemu-xhci,id=xhci,addr=7',
    'tablet': '-device usb-tablet,id=tablet0,bus=xhci.0,port=2',
    'chardev': '-chardev null,id=c0',
    'serial': '-serial chardev:c0',
    'more': '',
}


def line(**changes):
    """The command line of the machine with some of its parts replaced."""
    unknown = set(changes) - set(BASE)
    assert not unknown, unknown
    return shlex.split(' '.join((BASE | changes).values()))


def start(arguments, *more, **options):
    return Qemu(BUILT, *arguments, *more, machine=None, **options)


def source(arguments, *more):
    """One of which all is sent, so that nothing can be missing."""
    return start(arguments, *WHOLE, *more, name='source')


def destination(arguments, *more, incoming='defer'):
    return start(arguments, *more, incoming=incoming)


def _members(text):
    return [part.partition('=')[::2] for part in text.split(',')]


def _is_device(arguments, at, path):
    """Is it the -device of that id?"""
    return (arguments[at - 1] == '-device' and
            re.search(rf'[:,]id={re.escape(path)}(,|$)',
                      ':' + arguments[at].replace(',', ':,', 1)))


def _find_device(arguments, name):
    return next(i for i in range(1, len(arguments))
                if _is_device(arguments, i, name))


def _give(arguments, name, members):
    """Gives properties to the -device of that id."""
    at = _find_device(arguments, name)
    driver, *options = arguments[at].split(',')
    given = dict(_members(members))
    options = [o for o in options if o.partition('=')[0] not in given]
    arguments[at] = ','.join([driver, *options,
                              *(f'{k}={v}' for k, v in given.items())])


def follow(arguments, difference):
    """The command line when one does what the advice says; None if that is
    nothing that a program could do."""
    arguments = list(arguments)
    words = shlex.split(difference.get('advice', ''))
    if words[:1] == ['give']:
        _give(arguments, difference['id'], words[1])
    elif words[:2] == ['start', 'with'] and words[2].startswith('-'):
        arguments += words[2:]
    elif words[:2] == ['start', 'without']:
        at = next(i for i in range(len(arguments))
                  if arguments[i:i + 2] == words[2:])
        del arguments[at:at + 2]
    elif words[:1] == ['add']:
        arguments += words[1:]
    elif words[:1] == ['leave']:
        name = dict(_members(words[2])).get('id')
        at = _find_device(arguments, name)
        del arguments[at - 1:at + 1]
    else:
        return None
    return arguments
