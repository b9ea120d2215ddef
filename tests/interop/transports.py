#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Version 4 over every transport, with a stopped machine: its memory arrives
equal to the byte, and both sides have counted the same stream.
"""

import contextlib
import os
import socket

from harness.qemu import (BUILT, Qemu, migrate, tempdir, wait_for,
                          wait_migration)
from harness.tap import Tap, check, equal
from interop import wire
from interop.live import prepare
from interop.tls import credentials, make_psk, make_x509

MIB = 1 << 20
MEMORY, RANDOM = 24 * MIB, 4 * MIB
COMMON = ['-S', '-m', f'{MEMORY // MIB}M', '-device', 'VGA',
          '-device', 'virtio-rng-pci', '-device', 'virtio-scsi-pci']
MACHINES = {
    'pc-q35-7.2-v4': [*COMMON, '-device', 'ich9-usb-uhci1',
                      '-device', 'usb-tablet', '-device', 'e1000e,romfile='],
    'pc-i440fx-7.2-v4': [*COMMON, '-device', 'piix3-usb-uhci',
                         '-device', 'usb-tablet', '-device', 'e1000,romfile='],
}


@contextlib.contextmanager
def source(machine, directory, *args):
    """A stopped machine with some memory that is like no other run's."""
    path = directory / 'random'
    path.write_bytes(os.urandom(RANDOM))
    with Qemu(BUILT, *MACHINES[machine], '-device',
              f'loader,file={path},addr={8 * MIB:#x},force-raw=on', *args,
              machine=machine) as vm:
        yield vm


def destination(machine, *args, **options):
    return Qemu(BUILT, *MACHINES[machine], *args, machine=machine, **options)


def memory(vm, path):
    vm.qmp('pmemsave', val=0, size=MEMORY, filename=str(path))
    return path.read_bytes()


def compare(src, dst, directory, multifd=False):
    """What must hold after a migration; returns the figures of the stream."""
    wait_migration(dst)
    check(memory(src, directory / 'here') == memory(dst, directory / 'there'),
          'the destination\'s memory is not the source\'s')
    here = src.qmp('query-migrate')['stream']
    there = dst.qmp('query-migrate')['stream']
    equal(there, here, 'figures of the destination')
    equal((here['version'], here['skipped']), (4, 0), 'version, skipped')
    check(here['sections'] >= 30, f'too few sections: {here}')
    # Besides a record for each device: configuration, RAM's parts, the end.
    check(here['records'] >= here['sections'] + 4, f'too few records: {here}')
    least = 0 if multifd else RANDOM
    check(least < here['bytes'] < least + 2 * MIB, f'bytes: {here}')
    return here


def over_socket(machine, uri, multifd=False, tls=None):
    """tls: kind of credentials and how they are made."""
    with tempdir() as directory:
        args = {'client': [], 'server': []}
        params = {}
        if tls:
            kind, make = tls
            where = make(directory / 'tls')
            args = {side: credentials(kind, where, side) for side in args}
            params = {'tls-creds': 'tls', 'tls-hostname': 'localhost'}
        with source(machine, directory, *args['client']) as src, \
             destination(machine, *args['server'], incoming='defer') as dst:
            prepare((src, dst), {'multifd': multifd}, params)
            dst.qmp('migrate-incoming',
                    uri=uri.format(directory=directory))
            migrate(src, dst.listens_at())
            compare(src, dst, directory, multifd)


def over_fd(machine):
    ours, theirs = socket.socketpair()
    with tempdir() as directory, ours, theirs, \
         source(machine, directory) as src, \
         destination(machine, incoming=f'fd:{theirs.fileno()}',
                     pass_fds=[theirs.fileno()]) as dst:
        theirs.close()
        src.getfd('migration', ours.fileno())
        ours.close()
        migrate(src, 'fd:migration')
        compare(src, dst, directory)


def over_exec(machine):
    """Through a file, which is then read by other eyes as well."""
    with tempdir() as directory, source(machine, directory) as src:
        path = directory / 'stream'
        info = migrate(src, f'exec:cat > {path}')
        size = info['stream']['bytes']
        wait_for(lambda: path.stat().st_size >= size, 10,
                 lambda: f'{path.stat().st_size} of {size} bytes in the file')
        records = wire.parse(path.read_bytes())
        with destination(machine, incoming=f'exec:cat {path}') as dst:
            figures = compare(src, dst, directory)
    equal(figures['bytes'], size, 'bytes of the stream')
    equal(figures['records'], len(records), 'records in the file')
    equal(figures['sections'], sum(r.identifies for r in records),
          'sections in the file')


X509, PSK = ('x509', make_x509), ('psk', make_psk)
TCP, UNIX = 'tcp:127.0.0.1:0', 'unix:{directory}/socket'

with Tap('version 4 over every transport, stopped') as t:
    for name in MACHINES:
        t.case(f'{name} over tcp', over_socket, name, TCP)
        t.case(f'{name} over tcp, multifd', over_socket, name, TCP, True)
        t.case(f'{name} over unix', over_socket, name, UNIX)
        t.case(f'{name} over unix, multifd', over_socket, name, UNIX, True)
        t.case(f'{name} over fd', over_fd, name)
        t.case(f'{name} over exec', over_exec, name)
        t.case(f'{name} over TLS, x509', over_socket, name, TCP, False, X509)
        t.case(f'{name} over TLS, x509, multifd', over_socket, name, TCP,
               True, X509)
        t.case(f'{name} over TLS, PSK', over_socket, name, UNIX, False, PSK)
        t.case(f'{name} over TLS, PSK, multifd', over_socket, name, UNIX,
               True, PSK)
