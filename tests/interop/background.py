#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A background snapshot in version 4: the guest runs on while it is taken, and
what is loaded is the guest as it was when it began.
"""

import shutil

from harness.guest import make_disk, run_guest
from harness.qemu import (BUILT, Qemu, start_migration, tempdir, wait_for,
                          wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop import wire

MACHINES = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
CAP = {'background-snapshot': True}


def taken(machine):
    with tempdir() as directory:
        disk, copy = directory / 'disk.qcow2', directory / 'copy.qcow2'
        path = directory / 'snapshot'
        make_disk(disk)
        with run_guest(BUILT, disk, directory / 'before',
                       machine=machine) as src:
            src.set_caps(**CAP)
            src.console.wait_booted()
            src.console.wait_generations(1)
            # The disk has to be as old as the rest of the snapshot.
            src.qmp('stop')
            shutil.copy(disk, copy)
            last = src.console.beats()[-1]
            start_migration(src, f'exec:cat > {path}')
            src.wait_status('running')
            info = wait_migration(src)
            src.console.wait_generations(2)
            equal(src.status(), 'running', 'status of the source')
        figures = info['stream']
        wait_for(lambda: path.stat().st_size >= figures['bytes'], 10,
                 lambda: f'{path.stat().st_size} of {figures} in the file')
        check(path.stat().st_size == figures['bytes'],
              f'{path.stat().st_size} bytes in the file: {figures}')
        in_order(path.read_bytes())

        with run_guest(BUILT, copy, directory / 'after', machine=machine,
                       incoming=f'exec:cat {path}') as dst:
            wait_migration(dst)
            equal(dst.qmp('query-migrate')['stream'], figures,
                  'figures of the destination')
            dst.wait_status('paused')
            dst.qmp('cont')
            first = dst.console.wait_beats(1)
            check(0 <= dst.console.beats()[0].number - last.number <= 2,
                  f'the guest went from {last} to {first}')
            dst.console.wait_generations(2)


def in_order(data):
    """Devices behind the RAM, then the description, the index, the end."""
    kinds = [record.type for record in wire.parse(data)]
    last_ram = max(i for i, kind in enumerate(kinds) if kind == wire.PART)
    first_device = kinds.index(wire.FULL)
    check(last_ram < first_device, 'a device comes before the RAM')
    equal(kinds[-1], wire.END, 'last record')
    check(wire.VMDESCRIPTION in kinds[first_device:], 'no description')


def missing():
    """Why this host cannot write-protect a guest's memory, or None."""
    with Qemu(BUILT, '-S', '-m', '16M', machine=MACHINES[0]) as vm:
        try:
            vm.set_caps(**CAP)
        except QmpError as error:
            return str(error)
    return None


with Tap('background snapshots in version 4') as t:
    why = missing()
    for name in MACHINES:
        if why:
            t.skip(name, f'this host cannot: {why}')
        else:
            t.case(name, taken, name)
