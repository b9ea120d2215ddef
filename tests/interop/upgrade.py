#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of the stream left to the two sides: 'auto' with each setting of
the other side, with the distribution's QEMU, and over every transport.
"""

import contextlib
import os
import socket
import subprocess

from harness.guest import STOCK_SOURCE_MEMORY, make_disk, run_guest
from harness.qemu import (BUILT, QEMU_IMG, STOCK, Qemu, migrate,
                          start_migration, tempdir, wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.link import Link
from interop.live import TLS, Pauses, prepare
from interop.tls import credentials, make_psk, make_x509

V3, V4 = 'pc-q35-7.2', 'pc-q35-7.2-v4'
I440FX = 'pc-i440fx-7.2-v4'
TCP, UNIX = 'tcp:127.0.0.1:0', 'unix:{directory}/socket'
MIB = 1 << 20
MEMORY, RANDOM = 24 * MIB, 4 * MIB
DEVICES = ['-S', '-m', f'{MEMORY // MIB}M', '-device', 'VGA',
           '-device', 'virtio-rng-pci', '-device', 'e1000,romfile=']

# A side: binary, machine type, what 'stream-version' is set to
THEIRS = STOCK, V3, None


def ours(version, machine=V4):
    return BUILT, machine, version


AUTO = ours('auto')


def choose(vm, side):
    if side[2] is not None:
        vm.set_params(**{'stream-version': side[2]})


def spoke(src, dst, version):
    """What both sides show of the version that was spoken."""
    for vm in src, dst:
        info = vm.qmp('query-migrate')
        if version == 3 or vm.binary != str(BUILT):
            check('stream' not in info and 'peer' not in info,
                  f'{vm.name}: not version 3: {info}')
        else:
            equal(info['stream']['version'], version, f'{vm.name}: version')
    if version == 4:
        peer = src.qmp('query-migrate')['peer']
        equal(peer['stream-version'], 4, 'version with that peer')
        equal(src.qmp('query-migrate')['stream'],
              dst.qmp('query-migrate')['stream'], 'figures')


# -- stopped machines, whose memory is compared

def memory(vm, path):
    vm.qmp('pmemsave', val=0, size=MEMORY, filename=str(path))
    return path.read_bytes()


@contextlib.contextmanager
def source(side, directory, *args):
    """A machine with some memory that is like no other run's."""
    path = directory / 'random'
    path.write_bytes(os.urandom(RANDOM))
    with Qemu(side[0], *DEVICES, '-device',
              f'loader,file={path},addr={8 * MIB:#x},force-raw=on', *args,
              machine=side[1]) as vm:
        choose(vm, side)
        yield vm


@contextlib.contextmanager
def destination(side, *args, **options):
    with Qemu(side[0], *DEVICES, *args, machine=side[1], incoming='defer',
              **options) as vm:
        choose(vm, side)
        yield vm


def arrived(src, dst, directory, version):
    wait_migration(dst)
    check(memory(src, directory / 'here') == memory(dst, directory / 'there'),
          'the destination\'s memory is not the source\'s')
    spoke(src, dst, version)


def stopped(one, other, version, uri=TCP, caps=None, tls=None):
    """tls: kind of credentials and how they are made."""
    with tempdir() as directory:
        args = {'client': [], 'server': []}
        if tls:
            kind, make = tls
            where = make(directory / 'tls')
            args = {side: credentials(kind, where, side) for side in args}
        with source(one, directory, *args['client']) as src, \
             destination(other, *args['server']) as dst:
            prepare((src, dst), caps, TLS if tls else None)
            dst.qmp('migrate-incoming', uri=uri.format(directory=directory))
            migrate(src, dst.listens_at())
            arrived(src, dst, directory, version)


def over_fd(one, other, version):
    here, there = socket.socketpair()
    with tempdir() as directory, here, there, \
         source(one, directory) as src, \
         destination(other, pass_fds=[there.fileno()]) as dst:
        dst.qmp('migrate-incoming', uri=f'fd:{there.fileno()}')
        there.close()
        src.getfd('migration', here.fileno())
        here.close()
        migrate(src, 'fd:migration')
        arrived(src, dst, directory, version)


def over_exec(one, other):
    """Nobody can answer there: it is version 3."""
    with tempdir() as directory, source(one, directory) as src, \
         destination(other) as dst:
        path = directory / 'stream'
        migrate(src, f'exec:cat > {path}')
        wait_for(lambda: path.read_bytes()[-2:] == b']}', 10,
                 lambda: f'{path.stat().st_size} bytes in the file')
        equal(path.read_bytes()[:8], b'QEVM\0\0\0\3', 'header')
        dst.qmp('migrate-incoming', uri=f'exec:cat {path}')
        arrived(src, dst, directory, 3)


def recorded(version):
    """A recorded stream of either version is taken."""
    with tempdir() as directory, source(ours(version), directory) as src, \
         destination(ours('auto')) as dst:
        path = directory / 'stream'
        migrate(src, f'exec:cat > {path}')
        dst.qmp('migrate-incoming', uri=f'exec:cat {path}')
        wait_migration(dst)
        check(memory(src, directory / 'here') ==
              memory(dst, directory / 'there'), 'memory')


def again():
    """What was found out is for one migration only."""
    def cut(data):
        if b'QEVM\0\0\0\4' in data:
            link.cut()

    with tempdir() as directory, source(AUTO, directory) as src:
        with destination(AUTO) as dst:
            dst.qmp('migrate-incoming', uri=TCP)
            with Link(dst.listens_at(), cut) as link:
                start_migration(src, link.uri)
                wait_migration(src, 'failed')
        for other, version in (ours(3), 3), (AUTO, 4), (THEIRS, 3):
            with destination(other) as dst:
                dst.qmp('migrate-incoming', uri=TCP)
                migrate(src, dst.listens_at())
                arrived(src, dst, directory, version)
            # It was given away; for the test it is taken back.
            src.qmp('cont')
            src.qmp('stop')


# -- snapshots

@contextlib.contextmanager
def with_image(directory, version, binary=BUILT):
    with Qemu(binary, '-S', '-m', '16M', '-blockdev',
              'qcow2,node-name=disk,file.driver=file,'
              f'file.filename={directory}/disk', '-device',
              'virtio-blk-pci,drive=disk',
              machine=V4 if binary == BUILT else V3) as vm:
        choose(vm, (binary, V4, version))
        yield vm


def snapshot(saving, loading, binary=BUILT):
    with tempdir() as directory:
        subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2',
                        directory / 'disk', '1M'], check=True, timeout=60)
        with with_image(directory, saving) as vm:
            vm.hmp('o /b 0x80 0x5a')
            equal(vm.hmp('savevm saved'), '', 'what savevm says')
        with with_image(directory, loading, binary) as vm:
            equal(vm.hmp('loadvm saved'), '', 'what loadvm says')


# -- the Linux guest at work

@contextlib.contextmanager
def pair(one, other, caps=None, params=None, src_args=(), dst_args=(),
         **options):
    """As linux_pair() of interop.live, but each side has a machine type."""
    with tempdir() as directory:
        disk = make_disk(directory / 'disk.qcow2')
        with run_guest(one[0], disk, directory / 'before', *src_args,
                       memory=STOCK_SOURCE_MEMORY, machine=one[1],
                       **options) as src, \
             run_guest(other[0], disk, directory / 'after', *dst_args,
                       memory=STOCK_SOURCE_MEMORY, machine=other[1],
                       incoming='defer', **options) as dst:
            choose(src, one)
            choose(dst, other)
            prepare((src, dst), caps, params)
            dst.qmp('migrate-incoming', uri=TCP)
            src.console.wait_booted()
            src.console.wait_generations(1)
            yield src, dst, directory


def goes_on(src, dst, version):
    """The guest went over, with all of its memory."""
    last = src.console.beats()[-1]
    dst.wait_status('running')
    check(dst.console.wait_beats(1).number >= last.number,
          'the guest has gone back')
    wait_migration(src)
    wait_migration(dst)
    dst.console.wait_generations(2)
    src.console.check()
    equal(src.status(), 'postmigrate', 'status of the source')
    spoke(src, dst, version)


def live(one, other, version, **options):
    with pair(one, other, **options) as (src, dst, _):
        migrate(src, dst.listens_at())
        goes_on(src, dst, version)


def live_over_tls(one, other, version, caps=None):
    with tempdir() as directory:
        where = make_psk(directory / 'tls')
        live(one, other, version, caps=caps, params=TLS,
             src_args=credentials('psk', where, 'client'),
             dst_args=credentials('psk', where, 'server'))


RAM = {'postcopy-ram': True}
PREEMPT = {**RAM, 'postcopy-preempt': True}
# Slow enough that a good part of the memory is left for postcopy, however late
# that begins.
SLOW = {'max-bandwidth': 5 * MIB}
CRAWL = {**SLOW, 'max-postcopy-bandwidth': 3 * MIB}


def transferred(vm, least):
    def enough():
        ram = vm.qmp('query-migrate').get('ram', {})
        return ram.get('transferred', 0) >= least
    wait_for(enough, 60, lambda: f'{vm.qmp("query-migrate")}; {vm.says()}')


def switch_over(src, dst, uri):
    start_migration(src, uri)
    transferred(src, 8 * MIB)
    src.qmp('migrate-start-postcopy')
    dst.wait_status('running')
    dst.console.wait_beats(1)


def postcopy(one, other, version, caps):
    with pair(one, other, caps=caps, params=SLOW) as (src, dst, _):
        switch_over(src, dst, dst.listens_at())
        goes_on(src, dst, version)
        check(src.qmp('query-migrate')['ram']['postcopy-requests'] > 0,
              'no page was asked for')


def recovered(one, other, caps, version):
    """The stream is taken up again in the version that was found out."""
    with pair(one, other, caps=caps, params=CRAWL, oob=True) as (src, dst,
                                                                 directory):
        pauses = Pauses(dst)
        with Link(dst.listens_at()) as link:
            switch_over(src, dst, link.uri)
            transferred(src, 12 * MIB)
            link.cut()
            wait_migration(src, 'postcopy-paused')
            pauses.wait()
        before = src.qmp('query-migrate').get('stream')
        uri = f'unix:{directory}/socket'
        pauses.recover(uri)
        src.qmp('migrate', uri=uri, resume=True)
        src.set_params(**{'max-postcopy-bandwidth': 0})
        wait_migration(src)
        wait_migration(dst)
        dst.console.wait_generations(2)
        src.console.check()
        after = src.qmp('query-migrate').get('stream')
        equal(after is not None, version == 4, 'version 4')
        # What came later went as records as well.
        check(not after or after['bytes'] > before['bytes'] + MIB,
              f'from {before} to {after}')


X509, PSK = ('x509', make_x509), ('psk', make_psk)
MULTIFD = {'multifd': True}
RETURN_PATH = {'return-path': True}
with Tap('stream-version=auto') as t:
    for one, other, version in ((AUTO, AUTO, 4), (AUTO, ours(4), 4),
                                (AUTO, ours(3), 3), (ours(4), AUTO, 4),
                                (ours(3), AUTO, 3)):
        what = f'{one[2]} to {other[2]} is {version}'
        t.case(what, stopped, one, other, version)
        t.case(f'{what}, multifd', stopped, one, other, version, TCP, MULTIFD)
    for one, other, what in ((AUTO, THEIRS, 'to the distribution'),
                             (THEIRS, AUTO, 'from the distribution')):
        t.case(f'{what}', stopped, one, other, 3)
        t.case(f'{what}, multifd', stopped, one, other, 3, TCP, MULTIFD)
        t.case(f'{what}, return path', stopped, one, other, 3, TCP,
               RETURN_PATH)
        t.case(f'{what}, unix', stopped, one, other, 3, UNIX)
        t.case(f'{what}, fd', over_fd, one, other, 3)
        t.case(f'{what}, TLS', stopped, one, other, 3, TCP, None, PSK)
        t.case(f'{what}, TLS, multifd', stopped, one, other, 3, TCP, MULTIFD,
               X509)
        t.case(f'{what}, exec', over_exec, one, other)
    t.case('auto, unix', stopped, AUTO, AUTO, 4, UNIX)
    t.case('auto, fd', over_fd, AUTO, AUTO, 4)
    t.case('auto, TLS, x509', stopped, AUTO, AUTO, 4, TCP, None, X509)
    t.case('auto, TLS, PSK, multifd', stopped, AUTO, AUTO, 4, UNIX, MULTIFD,
           PSK)
    t.case('auto, exec', over_exec, AUTO, AUTO)
    t.case('the machine types of version 3', stopped, ours('auto', V3),
           ours('auto', V3), 4)
    t.case('pc-i440fx', stopped, ours('auto', I440FX), ours('auto', I440FX),
           4)
    t.case('a recorded stream of version 3', recorded, 3)
    t.case('a recorded stream of version 4', recorded, 4)
    t.case('each migration asks anew', again)

    t.case('a snapshot that is saved is of version 3', snapshot, 'auto', 3)
    t.case('the distribution loads it', snapshot, 'auto', None, STOCK)
    t.case('a snapshot of version 3 is loaded', snapshot, 3, 'auto')
    t.case('a snapshot of version 4 is loaded', snapshot, 4, 'auto')

    t.case('live', live, AUTO, AUTO, 4)
    t.case(f'live to the distribution, {V4}', live, AUTO, THEIRS, 3)
    t.case(f'live to the distribution, {V3}', live, ours('auto', V3), THEIRS,
           3)
    t.case(f'live from the distribution, {V4}', live, THEIRS, AUTO, 3)
    t.case('live over TLS, multifd', live_over_tls, AUTO, AUTO, 4, MULTIFD)
    t.case('live over TLS to the distribution', live_over_tls, AUTO, THEIRS,
           3)
    t.case('postcopy', postcopy, AUTO, AUTO, 4, RAM)
    t.case('postcopy, preempt', postcopy, AUTO, AUTO, 4, PREEMPT)
    t.case('postcopy, preempt, multifd', postcopy, AUTO, AUTO, 4,
           {**PREEMPT, **MULTIFD})
    t.case('postcopy, preempt, to the distribution', postcopy, AUTO, THEIRS,
           3, PREEMPT)
    t.case('postcopy, preempt, from the distribution', postcopy, THEIRS, AUTO,
           3, PREEMPT)
    t.case('postcopy, preempt, taken up again', recovered, AUTO, AUTO,
           PREEMPT, 4)
    t.case('postcopy, preempt, taken up again in version 3', recovered, AUTO,
           ours(3), PREEMPT, 3)
