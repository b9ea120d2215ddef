#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices, and parts of devices, that the guest has not used: they are not
sent, and a destination that does not have them takes the guest.  What the
guest did use is sent, and missed by name where it is missing.

For each of interop.using's devices: a machine in which nobody touched it and
one in which somebody did.  That nothing is lost is seen in version 3, which
sends everything: it sends the same before and after, for a machine that
started afresh as for one that has used the device and then loads a snapshot.
"""

import subprocess

from harness.qemu import (QEMU_IMG, WHOLE, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.retrying import wait_failed
from interop.stream import Stream
from interop.using import DEVICES, sent, start
from tool.run import dump

TAG = 'untouched'


def state(directory, vm, device):
    """All that there is of a device, as version 3 has it.  Of what only
    version 4 has there is nothing while it is unused."""
    found = [d for d in dump(sent(directory, vm, device.version))['devices']
             if d['name'] == device.section]
    check(found or device.version == 4, f'there is no {device.section}')
    return found


def use(vm, qtest, device):
    """A timer of it runs out if the clock is made to go on."""
    vm.qmp('cont')
    device.use(qtest)
    vm.qmp('stop')


def needed(vm, device):
    return [d.get('needed', False)
            for d in vm.qmp('query-vmstate')['devices']
            if d['name'] == device.section]


def in_stream(path, device):
    """Whether the device is sent: its section, or its part with something in
    it."""
    stream = Stream(path.read_bytes())
    records = [r for r in stream.records
               if r.identifies and r.name == device.section]
    if device.part is None:
        return bool(records)
    check(records, f'there is no section {device.section}')
    return any(frame.parts for r in records
               for frame, _ in stream.tree(r).walk()
               if frame.name == device.part)


def both(device):
    """Not sent while nobody uses it, sent when somebody does, and there
    again; a reset makes it what it was."""
    with tempdir() as directory:
        with start(device.machine, *device.args) as (vm, qtest):
            check(not in_stream(sent(directory, vm, 4), device),
                  'sent, and nobody used it')
            if device.part is None:
                equal(needed(vm, device), [False], 'needed')
            fresh = state(directory, vm, device)
            use(vm, qtest, device)
            if device.part is None:
                equal(needed(vm, device), [True], 'needed when used')
            used = state(directory, vm, device)
            check(used != fresh, 'using it changes nothing')
            path = sent(directory, vm, 4)
            check(in_stream(path, device), 'used, and not sent')
            loaded(directory, path, device, used)
            vm.qmp('system_reset')
            again = state(directory, vm, device)
            if device.part is None:
                equal(again, fresh, 'after a reset')
            path = sent(directory, vm, 4)
            equal(in_stream(path, device), device.stays, 'sent after a reset')
            loaded(directory, path, device, again)
        with start(device.machine, *device.args, *WHOLE) as (vm, qtest):
            path = sent(directory, vm, 4)
            check(in_stream(path, device), 'not sent when all is to be')
            unused_there(directory, path, device)
            if device.part is None:
                # All of it, which is never left out here
                fresh = state(directory, vm, device)
                check(fresh, 'it has no state')
                use(vm, qtest, device)
                vm.qmp('system_reset')
                equal(state(directory, vm, device), fresh, 'after a reset')


def loaded(directory, path, device, expected):
    """A machine that loads a stream has the state that is expected."""
    with start(device.machine, *device.args, incoming='defer') as (vm, _):
        vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
        wait_migration(vm)
        equal(state(directory, vm, device), expected, 'loaded')


def unused_there(directory, path, device):
    """Whoever was sent what nobody uses does not send it on."""
    with start(device.machine, *device.args, incoming='defer') as (vm, _):
        vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
        wait_migration(vm)
        check(not in_stream(sent(directory, vm, 4), device),
              'unused, and sent on')


def snapshot(device):
    """One in which it is unused is loaded by a machine that has used it."""
    with tempdir() as directory:
        image = directory / 'image'
        subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', image, '1M'],
                       check=True, timeout=60)
        with start(device.machine, *device.args, '-drive',
                   f'if=none,format=qcow2,file={image}') as (vm, qtest):
            fresh = state(directory, vm, device)
            equal(vm.hmp(f'savevm {TAG}'), '', 'savevm')
            use(vm, qtest, device)
            check(state(directory, vm, device) != fresh, 'it is unused')
            equal(vm.hmp(f'loadvm {TAG}'), '', 'loadvm')
            equal(state(directory, vm, device), fresh, 'loaded')


def to_one_without(device, one_way):
    """The guest goes to a machine that has no such device."""
    with tempdir() as directory, \
         start(device.machine, *device.args) as (src, _), \
         start(device.machine + device.switch, *device.without,
               incoming='defer') as (dst, _):
        go(directory, src, dst, one_way)
        wait_migration(src)
        wait_migration(dst)
        found = (dst if one_way else src).qmp('query-migrate').get(
            'machine-differences', [])
        check(found and not any(d['fatal'] for d in found), found)


def not_to_one_without(device, one_way):
    """It does not if it has used the device, and runs on."""
    with tempdir() as directory, \
         start(device.machine, *device.args) as (src, qtest), \
         start(device.machine + device.switch, *device.without,
               incoming='defer') as (dst, _):
        use(src, qtest, device)
        go(directory, src, dst, one_way)
        if one_way:
            wait_migration(src)
        else:
            why = wait_migration(src, 'failed')['error-desc']
            check(f'device {device.path}' in why and "'device'" in why, why)
            check('the hello record' in why, f'not before the memory: {why}')
        why = wait_failed(dst)
        check(f'device {device.path}' in why, why)


def go(directory, src, dst, one_way):
    if one_way:
        path = sent(directory, src, 4)
        dst.qmp('migrate-incoming', uri=f'exec:cat {path}')
    else:
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        start_migration(src, f'unix:{directory}/socket')


def used_meanwhile(device):
    """Unused when the guest sets out, used when the device is saved."""
    with tempdir() as directory, \
         start(device.machine, *device.args, '-S') as (src, qtest), \
         start(device.machine + device.switch, *device.without,
               incoming='defer') as (dst, _):
        src.set_caps(pause_before_switchover=True)
        dst.set_caps(pause_before_switchover=True)
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        src.qmp('cont')
        start_migration(src, f'unix:{directory}/socket')
        wait_for(lambda: src.qmp('query-migrate')['status'] ==
                 'pre-switchover', 30, lambda: 'it does not stop')
        device.use(qtest)
        src.qmp('migrate-continue', state='pre-switchover')
        why = wait_migration(src, 'failed')['error-desc']
        check(f"device '{device.section}'" in why and 'is needed now' in why,
              why)
        wait_failed(dst)


def with_colo(device):
    """The other side has a state already: everything is sent."""
    with start(device.machine, *device.args) as (vm, _):
        equal(needed(vm, device), [False], 'needed')
        vm.set_caps(x_colo=True)
        equal(needed(vm, device), [True], 'needed with COLO')


with Tap('what the guest has not used') as tap:
    for name, row in DEVICES.items():
        tap.case(f'{name}: unused, used, reset', both, row)
        tap.case(f'{name}: a snapshot', snapshot, row)
        if row.path:
            for way in False, True:
                words = ' one way' if way else ''
                tap.case(f'{name}: to a machine without{words}',
                         to_one_without, row, way)
                tap.case(f'{name}: used, to a machine without{words}',
                         not_to_one_without, row, way)
    tap.case('used on the way', used_meanwhile, DEVICES['hpet'])
    tap.case('with COLO', with_colo, DEVICES['hpet'])
