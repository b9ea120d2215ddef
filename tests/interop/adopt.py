#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""-M incoming: a QEMU becomes the machine that arrives, over every transport
and out of a snapshot, and the guest runs on in it.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess

from harness.guest import GuestConsole, guest_args, make_disk, run_guest
from harness.qemu import (BUILT, QEMU_IMG, Qemu, migrate, tempdir, wait_for,
                          wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop import talk, wire
from interop.adopting import (ANYWHERE, HARMLESS, adopter, arrived, differing,
                              failing, machine_of, same_machine)
from interop.retrying import again, wait_failed
from interop.tls import credentials, make_psk

Q35, I440FX = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
NONE_YET = 'there is no machine yet'
TLS = {'tls-creds': 'tls', 'tls-hostname': 'localhost'}


def source(*args, machine=Q35, harmless=True, **options):
    return Qemu(BUILT, *(HARMLESS if harmless else ['-m', '32M']), *args,
                machine=machine, **options)


def onward(vm, *args):
    """What was adopted can be adopted."""
    with adopter(*args, name='third') as third:
        migrate(vm, third.listens_at())
        third.wait_status('running')
        same_machine(vm, third)


def plug(vm):
    """Plugs in what was not there when the machine began, and unplugs."""
    vm.qmp('object-add', **{'qom-type': 'memory-backend-ram', 'id': 'later',
                            'size': 32 << 20})
    vm.qmp('device_add', driver='pc-dimm', id='dimm2', memdev='later')
    vm.qmp('device_add', driver='usb-mouse', id='mouse', bus='usb.0')
    vm.qmp('device_add', driver='usb-kbd', id='gone', bus='usb.0')
    vm.qmp('set-machine-cookie', cookie='<domain name="x"/>')
    vm.qmp('device_del', id='gone')
    vm.wait_event('DEVICE_DELETED')


def over(uri, machine=Q35, args=(), given=(), caps=None, params=None,
         named=()):
    """
    uri     None: a socket in a directory of the test's own
    args    of the source
    given   to the destination
    named   back ends among these
    """
    with tempdir() as directory, source(*args, machine=machine) as src, \
         adopter(*given, incoming='defer') as dst:
        plug(src)
        for vm in src, dst:
            vm.set_caps(**(caps or {}))
            vm.set_params(**(params or {}))
        dst.qmp('migrate-incoming', uri=uri or f'unix:{directory}/socket')
        migrate(src, uri and dst.listens_at() or f'unix:{directory}/socket')
        dst.wait_status('running')
        same_machine(src, dst, named)
        equal(dst.qmp('query-migrate')['stream'],
              src.qmp('query-migrate')['stream'], 'figures')
        for vm in src, dst:
            vm.set_caps(**dict.fromkeys(caps or {}, False))
            vm.set_params(**dict.fromkeys(params or {}, ''))
        if not caps:
            onward(dst, *given)


def over_tls():
    with tempdir() as directory:
        where = make_psk(directory / 'tls')
        over(ANYWHERE, args=credentials('psk', where, 'client'),
             given=credentials('psk', where, 'server'), params=TLS,
             named=['tls'])


def nothing_but_incoming(machine):
    """As in the manual: -M incoming -incoming tcp:..., and nothing else."""
    with source(machine=machine) as src, adopter() as dst:
        equal(dst.status(), 'inmigrate', 'status')
        migrate(src, dst.listens_at())
        dst.wait_status('running')
        same_machine(src, dst)
        equal(dst.qmp('query-migrate').get('machine-differences', []), [],
              'differences')
        onward(dst)


def over_fd():
    ours, theirs = socket.socketpair()
    with ours, theirs, source() as src, \
         adopter(incoming=f'fd:{theirs.fileno()}',
                 pass_fds=(theirs.fileno(),)) as dst:
        src.getfd('out', ours.fileno())
        theirs.close()
        migrate(src, 'fd:out')
        dst.wait_status('running')
        same_machine(src, dst)


def over_file(there, back):
    with tempdir() as directory, source() as src:
        path = directory / 'guest'
        migrate(src, there.format(path))
        with adopter(incoming=back.format(path)) as dst:
            arrived(dst)
            dst.wait_status('running')
            same_machine(src, dst)


def by_postcopy():
    """Its memory comes when the guest runs already."""
    with source() as src, adopter(incoming='defer') as dst:
        for vm in src, dst:
            vm.set_caps(postcopy_ram=True)
        src.set_params(**{'max-bandwidth': 1 << 16})
        src.qmp('migrate', uri=again(dst))
        wait_for(lambda: src.qmp('query-migrate')['status'] == 'active', 60,
                 src.says)
        src.qmp('migrate-start-postcopy')
        src.set_params(**{'max-postcopy-bandwidth': 0})
        arrived(src)
        arrived(dst)
        dst.wait_status('running')
        same_machine(src, dst)


def mapped(snapshot):
    """A machine that is changed on its way is made as it is then."""
    with tempdir() as directory:
        path = directory / 'map'
        path.write_text(json.dumps([
            {'op': 'rename', 'id': 'old', 'to': 'new'},
            {'op': 'drop-device', 'device': 'gone',
             'sections': ['0000:00:1c.0/virtio-rng']}]))
        image = make_disk(directory / 'disk.qcow2', '8M')
        disk = ['-drive', f'file={image},if=none,id=saved']
        with source('-device', 'virtio-rng-pci,id=old', '-device',
                    'virtio-rng-pci,id=gone,addr=0x1c', '-device',
                    'virtio-blk-pci,drive=saved', *disk,
                    harmless=False) as src:
            options = f',map={path}'
            if snapshot:
                equal(src.hmp('savevm tag'), '', 'savevm')
                src.close()
                args, uri = ['-loadvm', 'tag'], None
            else:
                args, uri = [], ANYWHERE
            with adopter(*disk, *args, incoming=uri, options=options) as dst:
                if not snapshot:
                    migrate(src, dst.listens_at())
                dst.wait_status('running')
                ids = [each.get('id') for each in
                       dst.qmp('query-machine-config')['devices']]
                check('new' in ids and 'old' not in ids and
                      'gone' not in ids, str(ids))


# -- a guest

def given_for(directory, name):
    """What the Linux guest needs of the host, as options of the other side."""
    args = guest_args(directory / 'disk.qcow2', directory / name)
    keep = ('-kernel', '-initrd', '-chardev', '-netdev', '-blockdev',
            '-object')
    given = []
    for at, arg in enumerate(args):
        if arg in keep:
            given += args[at:at + 2]
    return given


def guest_runs_on(machine):
    with tempdir() as directory:
        disk = make_disk(directory / 'disk.qcow2')
        with contextlib.ExitStack() as stack:
            vm = stack.enter_context(run_guest(
                BUILT, disk, directory / 'first', machine=machine))
            vm.console.wait_booted()
            for name in 'second', 'third':
                dst = stack.enter_context(adopter(
                    *given_for(directory, name), '-no-reboot', name=name))
                dst.console = GuestConsole(directory / name, dst)
                migrate(vm, dst.listens_at())
                dst.wait_status('running')
                same_machine(vm, dst, given=['console', 'net', 'disk', 'rng'])
                dst.console.wait_generations(1)
                vm.console.check()
                vm = dst


# -- failing, and another try

def missing_then_given():
    """What is missing is listed, and a second try has it."""
    with tempdir() as directory:
        image = make_disk(directory / 'disk.qcow2', '1M')
        with source('-blockdev', f'qcow2,node-name=image,file.driver=file,'
                    f'file.filename={image}', '-device',
                    'virtio-blk-pci,drive=image', '-chardev',
                    f'file,id=log,path={directory}/log', '-device',
                    'isa-debugcon,chardev=log') as src, \
             adopter(incoming='defer') as dst:
            why = failing(src, again(dst))
            for word in '-chardev', '-blockdev', 'id=log', '"image"':
                check(word in why, f'{word} is not in: {why}')
            equal(why.count('\n  -'), 2, f'how many are missing in: {why}')
            check('machine' in src.hmp('info migrate'), 'phase')
            equal(src.status(), 'running', 'source')
            check('needs what only this side can give' in wait_failed(dst),
                  'why')
            config = dst.qmp('query-machine-config')
            equal(config['board']['type'], Q35, 'what has arrived')
            dst.qmp('chardev-add', id='log', backend={
                'type': 'file', 'data': {'out': f'{directory}/log2'}})
            dst.qmp('blockdev-add', **{
                'driver': 'qcow2', 'node-name': 'image',
                'file': {'driver': 'file', 'filename': str(image)}})
            migrate(src, again(dst))
            dst.wait_status('running')
            same_machine(src, dst, given=['log', 'image'])


def fails_for_good():
    with tempdir() as directory, \
         source('-chardev', f'file,id=log,path={directory}/log',
                '-device', 'isa-debugcon,chardev=log') as src, \
         adopter() as dst:
        why = failing(src, dst.listens_at())
        check('id=log' in why, why)
        equal(dst.wait_exit(), 1, 'status')
        check('backends=trust' in dst.stderr(), dst.says())
        with adopter(options=',backends=trust') as trusting:
            migrate(src, trusting.listens_at())
            trusting.wait_status('running')
            same_machine(src, trusting)


def cannot_be_made():
    """What turns out only when the machine is made ends the process, and the
    source hears why."""
    with source() as src:
        for args, word in (
                (['-cpu', 'no-such-model'], 'no-such-model'),
                (['-device', 'no-such-device'], 'no-such-device'),
                (['-device', 'virtio-rng-pci,addr=0x8'], 'slot 8')):
            with adopter(*args) as dst:
                why = failing(src, dst.listens_at())
                equal(dst.wait_exit(), 1, 'status')
                check(word in dst.stderr(), dst.says())
                check(word in why, why)
                equal(src.status(), 'running', 'source')


def not_what_arrives():
    """What is given wins, and is compared."""
    with source() as src:
        for args, word in ((['-m', '48M,slots=2,maxmem=128M'], 'memory'),
                           (['-cpu', 'qemu64'], 'model'),
                           (['-smp', '1'], 'smp')):
            with adopter(*args) as dst:
                why = failing(src, dst.listens_at())
                check('phase \'machine\'' in why and word in why, why)
                equal(dst.wait_exit(), 1, 'status')


def given(source_args, args, names):
    """A back end that was given under the same id is taken.

    args   '{}': a directory of the test's own
    """
    with tempdir() as directory:
        make_disk(directory / 'disk.qcow2', '1M')
        for name in 'here', 'there':
            (directory / name).write_bytes(bytes(32 << 20))

        def filled(args):
            return [arg.replace('{}', str(directory)) for arg in args]

        with source(*filled(source_args), harmless=False) as src, \
             adopter(*filled(args)) as dst:
            with adopter() as without:
                why = failing(src, without.listens_at())
                for name in names:
                    check(name in why, f'{name} is not in: {why}')
            migrate(src, dst.listens_at())
            dst.wait_status('running')
            same_machine(src, dst, given=names)


GIVEN = {
    'block': (['-blockdev', 'file,node-name=d,filename={}/here', '-device',
               'virtio-blk-pci,drive=d'],
              ['-blockdev', '{"driver":"file","node-name":"d",'
                            '"filename":"{}/there"}'], ['d']),
    'drive': (['-drive', 'if=none,id=d,format=raw,file={}/here', '-device',
               'virtio-blk-pci,drive=d'],
              ['-drive', 'if=none,id=d,format=raw,file={}/there'], ['d']),
    'net': (['-netdev', 'socket,id=n,udp=127.0.0.1:9,localaddr=127.0.0.1:0',
             '-device', 'virtio-net-pci,netdev=n'],
            ['-netdev', 'hubport,id=n,hubid=0'], ['n']),
    'chardev': (['-chardev', 'file,id=c,path={}/log', '-serial', 'chardev:c'],
                ['-chardev', 'null,id=c'], ['c']),
    'memory-backend-file': (
        ['-object', 'memory-backend-file,id=m,size=32M,mem-path={}/here',
         '-machine', 'memory-backend=m'],
        ['-object', 'memory-backend-file,id=m,size=32M,mem-path={}/there'],
        ['m']),
    'rng-random': (
        ['-object', 'rng-random,id=r,filename=/dev/urandom', '-device',
         'virtio-rng-pci,rng=r'], ['-object', 'rng-builtin,id=r'], ['r']),
}


def version_3():
    with source(machine='pc-q35-7.2') as src, adopter(incoming='defer') as dst:
        src.set_params(**{'stream-version': 3})
        src.qmp('migrate', uri=again(dst))
        check('version 3' in wait_failed(dst), dst.says())
        wait_migration(src, 'failed')
        equal(src.status(), 'running', 'source')
        src.set_params(**{'stream-version': 'auto'})
        migrate(src, again(dst))
        dst.wait_status('running')
        same_machine(src, dst)
        onward(dst)


def version_3_insisted():
    with source(machine='pc-q35-7.2') as src, \
         adopter('-global', 'migration.stream-version=3') as dst:
        src.qmp('migrate', uri=dst.listens_at())
        equal(dst.wait_exit(), 1, 'status')
        check('-M incoming' in dst.stderr(), dst.says())


def killed_source():
    with source() as src, adopter(incoming='defer') as dst:
        for part in 0, 4, 8, 40, 3000:
            uri = again(dst)
            host, port = uri[4:].split(':')
            with socket.create_connection((host, int(port))) as sock:
                data = talk.PREAMBLE + wire.chain(
                    wire.MACHINE, b'{' * 8000)[0].encode(8)
                sock.sendall(data[:part])
            wait_failed(dst)
        migrate(src, again(dst))
        dst.wait_status('running')


def ends(how):
    with adopter() as dst:
        dst.hmp('info status')
        how(dst)
        equal(dst.wait_exit(), 0, 'status')


def told(*args):
    """What a QEMU says that ends by itself, and its exit status."""
    done = subprocess.run([BUILT, '-no-user-config', '-display', 'none',
                           *args], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr, done.returncode


# -- snapshots

def out_of_snapshot(option, snapshot):
    """option: with which the disk is given, {}: its path"""
    with tempdir() as directory:
        image = make_disk(directory / 'disk, and more.qcow2', '8M')
        path = str(image).replace(',', ',,')
        disk = [arg.format(path) for arg in option]
        with source(*disk, '-device', 'virtio-blk-pci,drive=saved',
                    harmless=False) as src:
            src.hmp('stop')
            equal(src.hmp('savevm tag'), '', 'savevm')
            config = machine_of(src)
        before = image.read_bytes()
        said, status = told('-M', 'incoming', '-loadvm', 'none', *disk)
        equal(status, 1, 'status')
        check("Snapshot 'none' does not exist" in said, said)
        check(image.read_bytes() == before, 'the image was changed')
        with adopter('-loadvm', snapshot, '-S', *disk, incoming=None) as dst:
            equal(list(differing(config, machine_of(dst))), [], 'machine')
            check('paused' in dst.hmp('info status'), dst.hmp('info status'))


# -- what can be asked meanwhile

def refused(vm, command, **args):
    try:
        vm.qmp(command, **args)
    except QmpError as error:
        check(NONE_YET in str(error).lower(), f'{command}: {error}')
    else:
        raise AssertionError(f'{command} needs no machine')


def monitor():
    with adopter(incoming='defer') as dst:
        for command in ('query-pci', 'query-memory-size-summary', 'cont',
                        'system_reset', 'query-cpus-fast', 'x-exit-preconfig',
                        'query-machine-config', 'set-machine-cookie'):
            refused(dst, command)
        refused(dst, 'device_add', driver='e1000')
        refused(dst, 'migrate', uri='tcp:127.0.0.1:1')
        refused(dst, 'object-add', **{'qom-type': 'memory-backend-ram',
                                      'id': 'x', 'size': 4096})
        for line in ('info pci', 'savevm x', 'info registers',
                     'device_add e1000', 'info machine-config'):
            check(NONE_YET in dst.hmp(line).lower(),
                  f'{line}: {dst.hmp(line)}')
        for command in ('query-status', 'query-version', 'query-name',
                        'query-commands', 'query-qmp-schema', 'query-migrate',
                        'query-migrate-parameters', 'query-chardev',
                        'query-migrate-capabilities', 'query-yank',
                        'query-machines', 'query-named-block-nodes'):
            dst.qmp(command)
        for line in ('info status', 'info version', 'info migrate', 'help',
                     'info migrate_parameters', 'info chardev'):
            check(NONE_YET not in dst.hmp(line), line)
        machines = [m['name'] for m in dst.qmp('query-machines')]
        check('incoming' not in machines and Q35 in machines, str(machines))


def options():
    said, status = told('-M', 'help')
    check('\nincoming ' in said and not status, said)
    for args, words in (
            (['-M', 'incoming'], 'none can arrive'),
            (['-M', 'incoming,backends=all', '-incoming', 'defer'], "'all'"),
            (['-M', 'incoming,map=/nonexistent', '-incoming', 'defer'],
             '/nonexistent'),
            (['-M', 'incoming', '-incoming', 'defer', '-preconfig'],
             '-preconfig')):
        said, status = told(*args)
        check(words in said and status == 1, f'{args}: {said}')


with Tap('a QEMU that becomes the machine that arrives') as t:
    for name in Q35, I440FX:
        t.case(f'{name}: nothing but -M incoming', nothing_but_incoming, name)
        t.case(f'{name} over tcp, hot-plugged devices', over, ANYWHERE, name)
    t.case('over unix', over, None)
    t.case('over TLS', over_tls)
    t.case('multifd', over, ANYWHERE, caps={'multifd': True})
    t.case('over fd', over_fd)
    t.case('over file', over_file, 'file:{}', 'file:{}')
    t.case('over exec', over_file, 'exec:cat > {}', 'exec:cat {}')
    t.case('postcopy', by_postcopy)
    t.case('changed on its way', mapped, False)
    t.case('changed on its way out of a snapshot', mapped, True)
    t.case('a Linux guest runs on, twice', guest_runs_on, Q35)
    t.case('what is missing, and then given', missing_then_given)
    t.case('what is missing, or trusted', fails_for_good)
    t.case('a machine that cannot be made', cannot_be_made)
    t.case('another machine that was asked for', not_what_arrives)
    for name, case in GIVEN.items():
        t.case(f'what is given: {name}', given, *case)
    t.case('version 3', version_3)
    t.case('version 3 that is insisted on', version_3_insisted)
    t.case('a source that dies', killed_source)
    t.case('quit', ends, lambda dst: dst.qmp('quit'))
    t.case('SIGTERM', ends, lambda dst: os.kill(dst.pid, signal.SIGTERM))
    t.case('out of a snapshot, -blockdev', out_of_snapshot,
           ['-blockdev', 'qcow2,node-name=saved,file.driver=file,'
                         'file.filename={}'], 'tag')
    t.case('out of a snapshot, -drive', out_of_snapshot,
           ['-drive', 'file={},if=none,id=saved'], 'tag')
    t.case('monitors', monitor)
    t.case('options', options)
