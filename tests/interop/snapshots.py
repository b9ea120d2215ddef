#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots in version 4: `loadvm` and snapshot-load say why one cannot be
loaded, be it damaged or of the other version.
"""

import contextlib
import subprocess

from harness.qemu import (BUILT, QEMU_IMG, WHOLE, Qemu, start_migration,
                          tempdir, wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.loading import obscure
from interop.stream import Stream
from interop.vmstate import VmState

MACHINE = 'pc-q35-7.2-v4'
TAG = 'saved'
REFUSED = 'Cannot load the snapshot: '


@contextlib.contextmanager
def machine(directory, version, incoming=None):
    """A stopped machine with an image for snapshots."""
    with Qemu(BUILT, '-S', '-m', '16M', '-blockdev',
              'qcow2,node-name=disk,file.driver=file,'
              f'file.filename={directory}/disk', '-device',
              'virtio-blk-pci,drive=disk', '-global',
              f'migration.stream-version={version}', *WHOLE,
              machine=MACHINE, incoming=incoming) as vm:
        yield vm


def make_image(directory):
    subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2',
                    directory / 'disk', '1M'], check=True, timeout=60)


def saved(directory, version):
    make_image(directory)
    with machine(directory, version) as vm:
        equal(vm.hmp(f'savevm {TAG}'), '', 'what savevm says')


def spoil(directory):
    """Turns a bit of a device's state; gives how that is called."""
    with contextlib.closing(VmState(directory / 'disk')) as state:
        stream = Stream(state.stream)
        record = stream.find('hpet')
        data = bytearray(state.stream)
        data[record.offset + record.size - 1] ^= 1
        state.write(bytes(data))
    return f'{record.described()}, record at offset {record.offset}'


def by_hmp(vm):
    return vm.hmp(f'loadvm {TAG}') + vm.stderr()


def by_qmp(vm):
    vm.qmp('snapshot-load', job_id='load', tag=TAG, vmstate='disk',
           devices=['disk'])
    return wait_for(lambda: next(
        (job.get('error', 'no error') for job in vm.qmp('query-jobs')
         if job['status'] == 'concluded'), None), 30,
        lambda: 'snapshot-load goes on and on') + vm.stderr()


def says(said, *words):
    for word in words:
        check(word in said, f'{word!r} is missing: {said}')
    check(not obscure(said), f'it is obscure: {said}')


def damaged(load):
    with tempdir() as directory:
        saved(directory, 4)
        where = spoil(directory)
        with machine(directory, 4) as vm:
            says(load(vm), REFUSED, where, 'are damaged', 'expected', 'got')
            equal(vm.qmp('query-status')['running'], False, 'it runs')


def other_version(load, there, here):
    with tempdir() as directory:
        saved(directory, there)
        with machine(directory, here) as vm:
            says(load(vm), REFUSED, f'version {there}', f'version {here}')


def whole(load):
    with tempdir() as directory:
        saved(directory, 4)
        with machine(directory, 4) as vm:
            said = load(vm)
            check(said in ('', 'no error'), f'it was refused: {said}')


def arrived(load, postcopy):
    """A guest that has come from elsewhere is saved and loaded."""
    with tempdir() as here, tempdir() as there:
        make_image(here)
        make_image(there)
        with machine(there, 4) as src, machine(here, 4, 'defer') as vm:
            for side in src, vm:
                side.set_caps(postcopy_ram=postcopy)
            vm.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
            start_migration(src, vm.listens_at(),
                            params={'max-bandwidth': 1000} if postcopy else {})
            if postcopy:
                src.qmp('migrate-start-postcopy')
            info = wait_migration(src)
            equal(info['ram']['postcopy-bytes'] > 0, postcopy, 'a postcopy')
            wait_migration(vm)
            equal(vm.hmp(f'savevm {TAG}'), '', 'what savevm says')
            said = load(vm)
            check(said in ('', 'no error'), f'it was refused: {said}')


with Tap('snapshots in version 4') as t:
    for name, how in ('loadvm', by_hmp), ('snapshot-load', by_qmp):
        t.case(f'{name}: a snapshot', whole, how)
        for kind in False, True:
            t.case(f'{name}: a snapshot of a guest that came by '
                   f'{"postcopy" if kind else "migration"}', arrived, how, kind)
        t.case(f'{name}: a snapshot that is damaged', damaged, how)
        for old, new in (3, 4), (4, 3):
            t.case(f'{name}: a snapshot of version {old}, where {new} is '
                   'expected', other_version, how, old, new)
