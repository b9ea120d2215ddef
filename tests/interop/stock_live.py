#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Version 3 both ways: the distribution's QEMU and ours hand a running Linux
guest to each other on the machine types that both have.

An old machine type, with no more than its firmware, has sections and
subsections that the new ones don't have.
"""

from harness.guest import STOCK_SOURCE_MEMORY
from harness.qemu import BUILT, STOCK, migrate, tempdir
from harness.tap import Tap, check
from interop.live import Firmware, live

OLD_DEVICES = ['-m', '32M', '-device', 'VGA', '-device', 'e1000,romfile=',
               '-device', 'piix3-usb-uhci', '-device', 'usb-tablet',
               '-device', 'virtio-net-pci,romfile=',
               '-device', 'virtio-rng-pci',
               '-device', 'lsi53c895a']


def linux(source, destination, machine):
    for info in live(source, destination, machine,
                     memory=STOCK_SOURCE_MEMORY):
        check('stream' not in info, f'version 3 has no "stream": {info}')


def firmware(source, destination, machine):
    with tempdir() as directory, \
         Firmware(source, *OLD_DEVICES, machine=machine,
                  log=directory / 'before') as src, \
         Firmware(destination, *OLD_DEVICES, machine=machine,
                  log=directory / 'after',
                  incoming='tcp:127.0.0.1:0') as dst:
        src.wait_up()
        migrate(src, dst.listens_at())
        dst.wait_status('running')
        dst.qmp('system_reset')
        dst.wait_up()


JOBS = [(linux, 'pc-q35-7.2'), (linux, 'pc-i440fx-7.2'),
        (firmware, 'pc-i440fx-2.6')]

with Tap('version 3 with the distribution\'s QEMU') as t:
    for job, name in JOBS:
        t.case(f'{name}: the distribution\'s to ours', job, STOCK, BUILT, name)
        t.case(f'{name}: ours to the distribution\'s', job, BUILT, STOCK, name)
