#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What version 4 refuses, and with which words: streams of the other version,
a transport that it doesn't go over, and settings that don't exist.
"""

import functools
import subprocess

from harness.qemu import (BUILT, STOCK, Qemu, environment, spawn, tempdir,
                          wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop.live import record_stream
from interop.retrying import wait_failed

V3, V4 = 'pc-q35-7.2', 'pc-q35-7.2-v4'
OVERRIDE = 'migration.stream-version'
OVERRIDDEN = ('-global', f'{OVERRIDE}=3')
EXIT_TIMEOUT = 30


def words(text, *wanted):
    for word in wanted:
        check(word in text, f'{word!r} is missing in: {text.strip()!r}')


def other_version(sender, receiver, src_args, dst_args, binary=BUILT):
    with tempdir() as directory:
        record_stream(sender, directory, *src_args)
        with Qemu(binary, '-S', '-m', '16M', *dst_args, machine=receiver,
                  incoming='defer') as dst:
            takes_4 = binary == BUILT and dst.qmp(
                'query-migrate-parameters')['stream-version'] == 4
            dst.qmp('migrate-incoming',
                    uri=f'exec:cat {directory}/{sender}.stream')
            if takes_4:
                return wait_failed(dst)
            equal(dst.wait_exit(EXIT_TIMEOUT), 1, 'exit status')
            return dst.stderr()


def both_named(*args):
    words(other_version(*args), 'version 3', 'version 4', 'stream-version')


def stock_refuses():
    """Nothing is known of its words, but that it must not take the stream."""
    words(other_version(V4, V3, (), (), STOCK), 'version')


def overridden(machine, version):
    """The property wins over the machine type, on both sides."""
    args = ('-global', f'{OVERRIDE}={version}')
    with tempdir() as directory:
        data = record_stream(machine, directory, *args)
    equal(data[4:8], version.to_bytes(4, 'big'), 'version of the stream')


def wrong_value(value):
    with spawn([BUILT, '-machine', 'none', '-display', 'none', '-global',
                f'{OVERRIDE}={value}'], text=True, stderr=subprocess.PIPE,
               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
               env=environment()) as process:
        try:
            _, said = process.communicate(timeout=EXIT_TIMEOUT)
        finally:
            process.kill()
    equal(process.returncode, 1, f'exit status ({said.strip()})')
    words(said, 'stream-version', '3, 4 or auto')


RDMA = 'rdma:127.0.0.1:1'
WHY = 'memory', 'stream-version', '3'


def refused_rdma():
    """The source says no before it has made a connection."""
    with tempdir() as directory, \
         Qemu(BUILT, '-S', '-m', '16M', machine=V4) as src:
        try:
            src.qmp('migrate', uri=RDMA)
        except QmpError as error:
            words(str(error), 'rdma', *WHY)
        else:
            raise AssertionError('it was accepted')
        equal(src.qmp('query-migrate').get('status'), None, 'status')
        # And it can still do what it was made for.
        src.qmp('migrate', uri=f'exec:cat > {directory}/sent')
        wait_migration(src)


def refused_rdma_incoming():
    with Qemu(BUILT, '-S', '-m', '16M', machine=V4, incoming='defer') as dst:
        try:
            dst.qmp('migrate-incoming', uri=RDMA)
        except QmpError as error:
            words(str(error), 'rdma', *WHY)
        else:
            raise AssertionError('it was accepted')

BOTH = {name: True for name in ('multifd', 'postcopy-ram', 'postcopy-preempt')}


def refused_channels(command, **options):
    """In version 3 they would wait for one another for ever."""
    with Qemu(BUILT, '-S', '-m', '16M', machine=V3, **options) as vm:
        vm.set_caps(**BOTH)
        try:
            vm.qmp(command, uri='tcp:127.0.0.1:0')
        except QmpError as error:
            words(str(error), 'multifd', 'postcopy-preempt', 'version 3')
        else:
            raise AssertionError('it was accepted')
        equal(vm.qmp('query-migrate').get('status'), None, 'status')


with Tap('what version 4 refuses') as t:
    t.case('a version 3 stream, by a version 4 machine',
           both_named, V3, V4, (), ())
    t.case('a version 4 stream, by a version 3 machine',
           both_named, V4, V3, (), ())
    t.case('a version 3 stream, by the same machine type',
           both_named, V4, V4, OVERRIDDEN, ())
    t.case('a version 4 stream, by the same machine type',
           both_named, V4, V4, (), OVERRIDDEN)
    t.case('a version 4 stream, by the distribution\'s QEMU', stock_refuses)
    for machine, version in ((V3, 4), (V4, 3), ('pc-i440fx-2.6', 4)):
        t.case(f'{OVERRIDE}={version} on {machine} is obeyed', overridden,
               machine, version)
    for wrong in ('5', '0', '2', '-1', '4294967299', 'x', '', '3x',
                  'automatic'):
        t.case(f'{OVERRIDE}={wrong} is refused', wrong_value, wrong)
    t.case('RDMA is refused, on the source', refused_rdma)
    t.case('RDMA is refused, on the destination', refused_rdma_incoming)
    t.case('version 3: multifd with preempt, on the source', refused_channels,
           'migrate')
    t.case('version 3: multifd with preempt, on the destination',
           functools.partial(refused_channels, incoming='defer'),
           'migrate-incoming')
