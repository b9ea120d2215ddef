#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of the stream, chosen while QEMU runs: over what the machine
type chose, in both directions, and with the distribution's QEMU.
"""

import os

from harness.guest import STOCK_SOURCE_MEMORY, make_disk, run_guest
from harness.qemu import (BUILT, STOCK, Qemu, migrate, start_migration,
                          tempdir, wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop.live import linux_pair
from witness import byte_identity

V3, V4 = 'pc-q35-7.2', 'pc-q35-7.2-v4'
PARAMETER = 'stream-version'
TAKEN = '3, 4 or auto'


def bare(machine, *args, **options):
    return Qemu(BUILT, '-S', '-m', '16M', *args, machine=machine, **options)


def by_qmp(vm, version):
    vm.set_params(**{PARAMETER: version})


def by_hmp(vm, version):
    equal(vm.hmp(f'migrate_set_parameter {PARAMETER} {version}'), '', 'HMP')


def shows(vm, version):
    """As a number, or the word 'auto'."""
    equal(vm.qmp('query-migrate-parameters')[PARAMETER], version, 'QMP')
    check(f'\n{PARAMETER}: {version}\n' in
          vm.hmp('info migrate_parameters'), 'HMP does not show it')


def chosen(machine, first, put):
    """What is set is shown, and is what is sent."""
    with tempdir() as directory, bare(machine) as vm:
        shows(vm, first)
        put(vm, 7 - first)
        shows(vm, 7 - first)
        path = directory / 'stream'
        info = migrate(vm, f'exec:cat > {path}')
        equal('stream' in info, first == 3, 'figures are shown')
        equal(path.read_bytes()[4:8], bytes([0, 0, 0, 7 - first]), 'version')


def refused(vm, value, *wanted):
    try:
        by_qmp(vm, value)
    except QmpError as error:
        for word in wanted:
            check(word in str(error), f'{word!r} is missing in: {error}')
    else:
        raise AssertionError(f'{value!r} was accepted')


def wrong_values():
    with bare(V4) as vm:
        for value in 0, 2, 5, -1, 260, 1 << 32 | 3:
            refused(vm, value, PARAMETER, TAKEN)
            check(TAKEN in vm.hmp(
                f'migrate_set_parameter {PARAMETER} {value}'), 'HMP')
        for value in 'x', '3x', 'Auto', 'auto ':
            check(TAKEN in vm.hmp(
                f'migrate_set_parameter {PARAMETER} "{value}"'), 'HMP')
        for value in '3', 'x', '', 4.5, True, {}, []:
            refused(vm, value, PARAMETER)
        shows(vm, 4)


def auto(put):
    """It is shown as it was set, and nobody is asked about a file."""
    with tempdir() as directory, bare(V4) as vm:
        for version in 'auto', 3, 'auto', 4, 'auto':
            put(vm, version)
            shows(vm, version)
        path = directory / 'stream'
        info = migrate(vm, f'exec:cat > {path}')
        check('stream' not in info, f'not of version 3: {info}')
        equal(path.read_bytes()[4:8], bytes([0, 0, 0, 3]), 'version')


def auto_by_property():
    with bare(V4, '-global', f'migration.{PARAMETER}=auto') as vm:
        shows(vm, 'auto')


def not_meanwhile():
    """Neither side can be changed between begin and end of a migration."""
    with linux_pair(BUILT, BUILT, V4,
                    caps={'pause-before-switchover': True}) as (src, dst,
                                                                uri):
        start_migration(src, uri)
        wait_migration(src, 'pre-switchover')
        for vm in src, dst:
            for version in 3, 'auto':
                refused(vm, version, PARAMETER, 'while a migration runs')
            by_qmp(vm, 4)
            shows(vm, 4)
        src.qmp('migrate-continue', state='pre-switchover')
        wait_migration(src)
        wait_migration(dst)
        for vm in src, dst:
            by_qmp(vm, 3)
            shows(vm, 3)


def same_bytes(stirred):
    """Set to 3, a version 4 type sends what the distribution's QEMU does."""
    def sent(directory, binary, machine, version=None):
        path = directory / machine
        with byte_identity.machine(binary, machine, 'bare',
                                   stirred=stirred) as vm:
            if version:
                by_qmp(vm, version)
            migrate(vm, f'exec:cat > {path}')
        return path.read_bytes()

    with tempdir() as directory:
        theirs = sent(directory, STOCK, V3)
        ours = sent(directory, BUILT, V4, 3)
    check(byte_identity.same(theirs, ours), 'the streams differ')


def live(source, destination):
    """Each side: binary, machine type, whether its version is set to 3."""
    with tempdir() as directory:
        disk = make_disk(directory / 'disk.qcow2')
        with run_guest(source[0], disk, directory / 'before',
                       memory=STOCK_SOURCE_MEMORY, machine=source[1]) as src, \
             run_guest(destination[0], disk, directory / 'after',
                       memory=STOCK_SOURCE_MEMORY, machine=destination[1],
                       incoming='defer') as dst:
            for vm, (_, _, put) in (src, source), (dst, destination):
                if put:
                    by_qmp(vm, 3)
            dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
            src.console.wait_booted()
            src.console.wait_generations(1)
            info = migrate(src, dst.listens_at())
            check('stream' not in info, f'not of version 3: {info}')
            dst.wait_status('running')
            dst.console.wait_generations(2)


os.environ.update(byte_identity.FILL_HEAP)
THEIRS, OURS = (STOCK, V3, False), (BUILT, V4, True)

with Tap('the version of the stream, chosen while QEMU runs') as t:
    t.case('QMP sets version 3', chosen, V4, 4, by_qmp)
    t.case('HMP sets version 3', chosen, V4, 4, by_hmp)
    t.case('QMP sets version 4', chosen, V3, 3, by_qmp)
    t.case('HMP sets version 4', chosen, V3, 3, by_hmp)
    t.case('QMP sets auto', auto, by_qmp)
    t.case('HMP sets auto', auto, by_hmp)
    t.case('-global sets auto', auto_by_property)
    t.case('other values are refused', wrong_values)
    t.case('not while a migration runs', not_meanwhile)
    t.case('set to 3, the bytes are those of the distribution', same_bytes,
           False)
    t.case('set to 3, they are so with stirred devices', same_bytes, True)
    t.case('set to 3, the distribution loads a live guest', live, OURS,
           THEIRS)
    t.case('set to 3, a live guest of the distribution is loaded', live,
           THEIRS, OURS)
