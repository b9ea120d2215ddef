#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a machine is compared: over a connection, out of a file, a pipe or a
snapshot; what config-check makes of it; and that a machine into which another
one's snapshot is not loaded is left as it was.
"""

import subprocess

from harness.qemu import (QEMU_IMG, QemuDied, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.differing import MAC, destination, line, source, start
from interop.retrying import wait_failed

OTHER = '52:54:00:00:00:02'
WORDS = ['net0', "'mac'", MAC, OTHER, f'give mac={MAC}']
CHECK = 'migration.config-check'
TAG = 'saved'
MIB = 1 << 20
SAVES = '/machine/peripheral/saves/virtio-backend'


def machine(mac=MAC, *more, **changes):
    return line(net='-device virtio-net-pci,id=net0,netdev=n0,'
                    f'mac={mac},addr=4', **changes) + list(more)


def says(text, *words):
    for word in words or WORDS:
        check(word in text, f'{word!r} is missing: {text!r}')


def fatal(vm):
    found = vm.qmp('query-migrate').get('machine-differences', [])
    return [d['property'] for d in found if d['fatal']]


# -- config-check

def warned(check_is, told):
    """Loaded all the same; whether it was told, and to both."""
    with source(machine()) as src, \
         destination(machine(OTHER), '-global', f'{CHECK}={check_is}') as dst:
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        migrate(src, dst.listens_at())
        dst.wait_status('running')
        for vm in src, dst:
            equal(fatal(vm), ['mac'] if told else [], vm.name)
            shown = vm.hmp('info migrate')
            equal('machine difference' in shown, told, shown)
            if told:
                says(shown)
        if told:
            says(dst.stderr(), 'warning: ', *WORDS)
        else:
            check('machine' not in dst.stderr(), dst.says())


def no_such_check():
    try:
        with destination(machine(), '-global', f'{CHECK}=perhaps') as dst:
            said = f'it runs: {dst.says()}'
    except QemuDied as error:
        said = str(error)
    says(said, 'config-check', 'perhaps')


def only_on_the_side_that_loads():
    with source(machine(MAC, '-global', f'{CHECK}=off')) as src, \
         destination(machine(OTHER)) as dst:
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        start_migration(src, dst.listens_at())
        says(wait_migration(src, 'failed')['error-desc'])
        says(wait_failed(dst))


def again():
    """A destination that has refused takes the machine that it is, and what
    differed before is forgotten."""
    with source(machine()) as one, source(machine(OTHER)) as other, \
         destination(machine(OTHER)) as dst:
        for src in one, other:
            dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
            start_migration(src, dst.listens_at())
            if src is one:
                wait_migration(src, 'failed')
                wait_failed(dst)
                equal(fatal(dst), ['mac'], 'at first')
        wait_migration(other)
        dst.wait_status('running')
        equal(fatal(dst), [], 'then')
        equal(one.status(), 'running', 'the one that was refused')


# -- one way

def one_way(there, back):
    with tempdir() as directory:
        path = directory / 'guest'
        with source(machine()) as src:
            src.qmp('stop')
            migrate(src, there.format(path))
            src.qmp('query-name')
        wait_for(lambda: path.exists() and path.stat().st_size > MIB // 4,
                 10, lambda: 'nothing was written')
        with destination(machine(OTHER)) as dst:
            dst.qmp('migrate-incoming', uri=back.format(path))
            says(wait_failed(dst))
            says(dst.stderr())
            equal(fatal(dst), ['mac'], 'differences')
            says(dst.hmp('info migrate'))
        with destination(machine()) as dst:
            dst.qmp('migrate-incoming', uri=back.format(path))
            wait_migration(dst)


def cookie():
    """What the management has with it is there, when all is there."""
    with source(machine()) as src, destination(machine()) as dst:
        src.qmp('set-machine-cookie', cookie='<domain/>')
        dst.qmp('set-machine-cookie', cookie='nothing')
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        migrate(src, dst.listens_at())
        dst.wait_status('running')
        equal(dst.qmp('query-machine-config').get('cookie'), '<domain/>',
              'cookie')


# -- snapshots

def with_disk(directory, mac, *more):
    """A machine with an image for snapshots."""
    return start(machine(mac, *more, hd='', hdnode='', blockdev=(
        '-blockdev qcow2,node-name=image,file.driver=file,'
        f'file.filename={directory}/image'
    ), disk='-device virtio-blk-pci,id=saves,drive=image,addr=5'))


def disk_io(vm, command):
    """What qemu-io prints, which goes past the monitor."""
    before = len(vm.stderr())
    said = vm.hmp(f'qemu-io -d {SAVES} "{command}"')
    return said + vm.stderr()[before:]


def write(vm, pattern):
    said = disk_io(vm, f'write -P {pattern} 0 64k')
    check('wrote 65536' in said, said)


def has(vm, pattern):
    said = disk_io(vm, f'read -P {pattern} 0 64k')
    check('read 65536' in said and 'failed' not in said, said)


def memory(vm, path):
    vm.qmp('pmemsave', val=0, size=64 * MIB, filename=str(path))
    return path.read_bytes()


def state(vm):
    return vm.hmp('info registers')


def saved(directory):
    subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2',
                    directory / 'image', '1M'], check=True, timeout=60)
    with with_disk(directory, MAC) as vm:
        write(vm, 17)
        equal(vm.hmp(f'savevm {TAG}'), '', 'what savevm says')


def by_hmp(vm):
    said = vm.hmp(f'loadvm {TAG}')
    check(said, 'it was loaded')
    return said


def by_qmp(vm):
    vm.qmp('snapshot-load', job_id='load', tag=TAG, vmstate='image',
           devices=['image'])

    def concluded():
        return next((job for job in vm.qmp('query-jobs')
                     if job['status'] == 'concluded'), None)

    job = wait_for(concluded, 30, lambda: 'snapshot-load goes on and on')
    vm.qmp('job-dismiss', id='load')
    check('error' in job, 'it was loaded')
    return job['error']


def snapshot(load, running):
    with tempdir() as directory:
        saved(directory)
        with with_disk(directory, OTHER, '-S') as vm:
            write(vm, 34)
            if running:
                vm.qmp('cont')
                vm.qmp('stop')
            before = memory(vm, directory / 'before'), state(vm)
            nodes = len(vm.qmp('query-named-block-nodes'))
            says(load(vm), 'Cannot load the snapshot: ', *WORDS)
            equal(fatal(vm), ['mac'], 'differences')
            check((memory(vm, directory / 'after'), state(vm)) == before,
                  'the memory or the CPU is not what it was')
            equal(len(vm.qmp('query-named-block-nodes')), nodes,
                  'block nodes')
            has(vm, 34)
            vm.qmp('cont')
            # Refused while it runs, as well; and it runs on.
            says(load(vm), 'Cannot load the snapshot: ', *WORDS)
            vm.wait_status('running')
            has(vm, 34)
            write(vm, 51)
        with with_disk(directory, MAC) as vm:
            has(vm, 51)
            equal(vm.hmp(f'loadvm {TAG}'), '', 'what loadvm says')
            vm.wait_status('running')
            has(vm, 17)


def snapshot_warned():
    with tempdir() as directory:
        saved(directory)
        with with_disk(directory, OTHER, '-global', f'{CHECK}=warn') as vm:
            says(vm.hmp(f'loadvm {TAG}'), 'warning: ', *WORDS)
            vm.wait_status('running')
            has(vm, 17)


def main(t):
    t.case('config-check=warn', warned, 'warn', True)
    t.case('config-check=off', warned, 'off', False)
    t.case('config-check=perhaps', no_such_check)
    t.case('config-check of the source', only_on_the_side_that_loads)
    t.case('another try', again)
    t.case('out of a file', one_way, 'file:{}', 'file:{}')
    t.case('out of a pipe', one_way, 'exec:cat > {}', 'exec:cat {}')
    t.case('a cookie', cookie)
    for name, how in ('loadvm', by_hmp), ('snapshot-load', by_qmp):
        for kind, running in ('that has run', True), ('that has not', False):
            t.case(f'{name} into another machine {kind}', snapshot, how,
                   running)
    t.case('loadvm with config-check=warn', snapshot_warned)


with Tap('where a machine is compared') as tap:
    main(tap)
