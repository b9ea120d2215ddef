#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Dirty bitmaps: a large guest has none until somebody needs them, and what was
needed is given back.  Without memory for them a migration fails, and the guest
runs on.

What is measured is memory that QEMU has written to, of guests whose own memory
is never touched.
"""

import contextlib
import resource
import time

from harness.qemu import (BUILT, STOCK, Qemu, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.link import Link

MIB = 1 << 20
SMALL, LARGE = '1G', '1T'
EACH = 32 * MIB             # a bit for each page of LARGE
SLACK = 12 * MIB
STILL = 20                  # looks at the memory, ten a second
MACHINE = 'pc-q35-7.2'
DISPLAYS = {'no display': ['-vga', 'none'], 'a display': ['-vga', 'std']}


def guest(binary, size, *args, **options):
    return Qemu(binary, '-cpu', 'qemu64,phys-bits=42', '-object',
                f'memory-backend-ram,id=ram,size={size},reserve=off',
                '-m', size, '-nodefaults', *args,
                machine=f'{MACHINE},memory-backend=ram', **options)


def written(vm):
    """The memory of its own that a QEMU has written to, in bytes."""
    with open(f'/proc/{vm.pid}/status') as status:
        for line in status:
            if line.startswith('RssAnon:'):
                return int(line.split()[1]) << 10
    raise RuntimeError('no RssAnon')


def witness():
    """The distribution's has all three."""
    with guest(STOCK, SMALL, '-S') as small, guest(STOCK, LARGE, '-S') as large:
        more = written(large) - written(small)
        check(more >= 3 * EACH - SLACK, f'only {more >> 20} MiB more')


def at_start(*args):
    with guest(BUILT, SMALL, '-S', *args) as small, \
         guest(BUILT, LARGE, '-S', *args) as large:
        # What QEMU frees late is not counted
        wait_for(lambda: written(large) - written(small) < SLACK, 30, lambda: (
            f'{written(large) - written(small) >> 20} MiB more'))


@contextlib.contextmanager
def running():
    """A large guest that runs firmware, which displays what it does."""
    with guest(BUILT, LARGE, '-vga', 'std') as vm:
        vm.qmp('stop')
        vm.qmp('cont')
        wait_for(lambda: vm.qmp('query-status')['running'], 30,
                 lambda: 'it does not run')
        # Firmware looks at the memory that it has, and comes to rest; so does
        # what QEMU frees late
        seen = []

        def rests():
            seen.append(written(vm))
            time.sleep(0.1)
            return len(seen) > STILL and \
                max(seen[-STILL:]) - min(seen[-STILL:]) < MIB
        wait_for(rests, 60, lambda: f'it does not come to rest: {seen}')
        yield vm


def in_use():
    """Code and a display take what they need; a migration takes all, and
    gives it back."""
    with running() as vm, \
         Qemu(BUILT, machine=MACHINE, incoming='tcp:127.0.0.1:0') as other, \
         Link(other.listens_at()) as link:
        before = written(vm)
        check(before < 3 * EACH, f'it takes {before >> 20} MiB')
        link.deaf = True
        start_migration(vm, link.uri, params={'max_bandwidth': 1 << 20})
        wait_for(lambda: written(vm) >= before + 2 * EACH - SLACK, 60,
                 lambda: f'of {before >> 20} MiB it came only to '
                         f'{written(vm) >> 20}')
        vm.qmp('migrate_cancel')
        wait_migration(vm, ('cancelled', 'failed'))
        wait_for(lambda: written(vm) <= before + SLACK, 60,
                 lambda: f'of {before >> 20} MiB, {written(vm) >> 20} are left')
        equal(vm.status(), 'running', 'status')


def no_memory():
    """There is room for one of the bitmaps or for none; then for all."""
    with running() as vm:
        with open(f'/proc/{vm.pid}/status') as status:
            size = next(int(line.split()[1]) << 10 for line in status
                        if line.startswith('VmSize:'))
        # With threads' stacks
        for room, words in ((24, 'pages of'), (56, 'pages are written')):
            resource.prlimit(vm.pid, resource.RLIMIT_AS,
                             (size + room * MIB, resource.RLIM_INFINITY))
            start_migration(vm, 'exec:cat >/dev/null')
            info = wait_migration(vm, ('failed',))
            check('there is no memory' in info.get('error-desc', '') and
                  words in info['error-desc'], f'{room} MiB: {info}')
            equal(vm.status(), 'running', 'status')
        resource.prlimit(vm.pid, resource.RLIMIT_AS,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        start_migration(vm, 'exec:cat >/dev/null',
                        params={'max_bandwidth': 1 << 20})
        wait_for(lambda: vm.qmp('query-migrate')['status'] == 'active', 60,
                 lambda: f"{vm.qmp('query-migrate')}")
        vm.qmp('migrate_cancel')
        wait_migration(vm, ('cancelled',))
        equal(vm.status(), 'running', 'status')


with Tap('dirty bitmaps when they are needed') as t:
    t.case('the distribution\'s has three from the start', witness)
    for what, args in DISPLAYS.items():
        t.case(f'none at the start, with {what}', at_start, *args)
    t.case('as much as is in use, and back', in_use)
    t.case('no memory for them', no_memory)
