#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Under TCG, no write of the guest is lost between two dirty syncs.

A guest of a few instructions, in place of the firmware, increments a counter
in each of some pages for ever, and never does anything that flushes a TLB.
If the dirty bitmap is cleared without TCG being told, its TLBs go on to take
the pages for dirty, and what is written to them later is not sent.
"""

import struct

from harness.qemu import (BUILT, STOCK, Qemu, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check

FIRST, PAGES, PAGE = 0x10000, 32, 4096
ROUNDS = 6

PROGRAM = bytes.fromhex(
    'fa'                # cli
    'b80010'            # round: mov ax, 0x1000
    '8ec0'              # page:  mov es, ax
    '2666ff060000'      #        inc dword [es:0]
    '050001'            #        add ax, 0x100
    '3d0030'            #        cmp ax, 0x3000
    '75f0'              #        jne page
    'ebeb')             #        jmp round
RESET_VECTOR = bytes.fromhex('ea000000f0')      # jmp 0xf000:0


def firmware(path):
    """64 KiB that the processor runs from the start, at 0xf0000."""
    image = bytearray(64 << 10)
    image[:len(PROGRAM)] = PROGRAM
    image[0xfff0:0xfff0 + len(RESET_VECTOR)] = RESET_VECTOR
    path.write_bytes(image)
    return path


def counters(vm, path):
    vm.qmp('pmemsave', val=FIRST, size=PAGES * PAGE, filename=str(path))
    data = path.read_bytes()
    return [struct.unpack_from('<I', data, page * PAGE)[0]
            for page in range(PAGES)]


def stale_pages(binary, machine, accel):
    """Migrates the guest live, with many syncs; returns how many of the
    destination's counters are not the source's."""
    with tempdir() as directory:
        args = ['-m', '16M', '-bios', firmware(directory / 'firmware')]
        options = {'machine': machine, 'accel': accel}
        with Qemu(binary, *args, **options) as src, \
             Qemu(binary, *args, '-S', incoming='tcp:127.0.0.1:0',
                  **options) as dst:
            wait_for(lambda: all(counters(src, directory / 'memory')), 10,
                     lambda: 'the guest does not count')
            # Too slow to end by itself, as long as all pages are noticed.
            start_migration(src, dst.listens_at(), params={
                'max_bandwidth': 1 << 20, 'downtime_limit': 1})
            wait_for(lambda: syncs(src) >= ROUNDS, 60,
                     lambda: f'only {syncs(src)} dirty syncs')
            src.set_params(max_bandwidth=1 << 30, downtime_limit=2000)
            wait_migration(src)
            wait_for(lambda: dst.status() in ('paused', 'prelaunch'), 10,
                     lambda: f'the destination is {dst.status()}')
            there = counters(dst, directory / 'there')
            here = counters(src, directory / 'here')
            check(all(here), 'the source has lost its counters')
            return sum(a != b for a, b in zip(here, there))


def syncs(vm):
    info = vm.qmp('query-migrate')
    if info['status'] == 'completed':
        return ROUNDS           # by itself: it has missed the dirty pages
    return info.get('ram', {}).get('dirty-sync-count', 0)


def nothing_is_lost(machine, accel='tcg'):
    stale = stale_pages(BUILT, machine, accel)
    check(not stale, f'{stale} of {PAGES} pages are stale')


with Tap('dirty sync under TCG') as t:
    for name in ('pc-q35-7.2', 'pc-i440fx-7.2', 'pc-q35-7.2-v4'):
        t.case(f'{name}: no write is lost', nothing_is_lost, name)
    t.case('one thread for all CPUs: no write is lost', nothing_is_lost,
           'pc-q35-7.2', 'tcg,thread=single')
    # That the test can see the fault, for as long as it is there to be seen.
    t.diag(f'the distribution\'s QEMU: '
           f'{stale_pages(STOCK, "pc-q35-7.2", "tcg")} of {PAGES} pages stale')
