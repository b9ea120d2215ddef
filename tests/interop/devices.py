#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every device that can be added to a machine by itself moves in version 4 if
it moves in version 3.
"""

import concurrent.futures
import re
import subprocess

from harness.qemu import (BUILT, Qemu, QemuDied, environment, migrate,
                          tempdir, wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal

MACHINES = 'pc-q35-7.2', 'pc-i440fx-7.2'
WORKERS = 2
CONTROLLERS = {'usb-bus': ['-device', 'qemu-xhci'],
               'SCSI': ['-device', 'virtio-scsi-pci'],
               'HDA': ['-device', 'intel-hda'],
               'virtio-serial-bus': ['-device', 'virtio-serial-pci']}
BUSES = 'PCI', 'ISA', 'System', *CONTROLLERS
# At least that many do; fewer would mean that the test doesn't see them.
LEAST = {'PCI': 60, 'usb-bus': 5, 'ISA': 10}


def devices():
    """Pairs of name and bus."""
    said = subprocess.run([BUILT, '-device', 'help'], text=True, check=True,
                          capture_output=True, timeout=60, env=environment())
    return re.findall(r'^name "([^"]+)", bus (\S+?),? *(?:,.*)?$', said.stdout,
                      re.M)


def move(machine, name, bus):
    """Migrates a stopped machine with the device: None if it can't be made
    or isn't migratable, else how that went."""
    args = ['-S', '-m', '16M', *CONTROLLERS.get(bus, []), '-device', name]
    try:
        src = Qemu(BUILT, *args, machine=machine)
    except QemuDied:
        return None
    with src:
        try:
            with tempdir() as directory, \
                 Qemu(BUILT, *args, machine=machine,
                      incoming=f'unix:{directory}/socket') as dst:
                said = src.qmp('query-vmstate')
                here = migrate(src, f'unix:{directory}/socket').get('stream')
                there = wait_migration(dst).get('stream')
                equal(there, here, 'figures of the destination')
                equal(dst.qmp('query-vmstate'), said, 'what they say')
        except QmpError as error:
            return None if 'non-migratable' in str(error) else str(error)
        except Exception as error:      # whatever it is, it is the answer
            return str(error)
    return 'moved'


def both(name, bus, machine):
    """Whether the device moved in version 4, or what differs."""
    try:
        new = move(f'{machine}-v4', name, bus)
        if new == 'moved':
            return True, None
        old = move(machine, name, bus)
    except QemuDied as error:
        new, old = str(error), None
    if new is None or old != 'moved':
        return False, None
    return False, f'{name}: {new}'


def all_move(machine, bus, names):
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        results = list(pool.map(lambda name: both(name, bus, machine), names))
    wrong = [text for _, text in results if text]
    check(not wrong, '\n'.join(wrong))
    moved = sum(good for good, _ in results)
    check(moved >= LEAST.get(bus, 1), f'only {moved} have moved')
    tap.diag(f'  {moved} of {len(names)} moved')


with Tap('every device in version 4') as tap:
    found = devices()
    for kind in BUSES:
        of_kind = [name for name, bus in found if bus == kind]
        for base in MACHINES:
            tap.case(f'{base}-v4: devices of bus {kind}', all_move, base, kind,
                     of_kind)
