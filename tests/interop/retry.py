#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A running Linux guest's migration fails in one way after the other, and then
succeeds, at one destination: the same process, tried again each time.

After each failure the source's guest runs on, the destination says why, has no
more threads and files than it had, and answers.  In the end the guest finds its
memory as it was.
"""

import functools
import socket
import time

from harness.guest import make_disk, run_guest
from harness.qemu import (BUILT, migrate, start_migration, tempdir, wait_for,
                          wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop.link import Link
from interop.live import linux_pair, prepare
from interop.loading import obscure
from interop.proxy import (Proxy, at_content, at_head, at_position, turned,
                           without)
from interop.retrying import again, resources, wait_failed, wait_resources
from interop.tls import credentials, make_psk, make_x509

Q35, I440FX = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
MIB = 1 << 20
SLOWER, SLOW, FAST = 3 * MIB, 20 * MIB, 1 << 40
MAGIC = b'QEVM'
RETRIES = 20
# What QEMU's own allocator may keep of a try, in KiB.
MARGIN = 32 << 10
# The last devices of these machines.
LAST = b'acpi_build', b'globalstate'


def connect(uri):
    kind, _, rest = uri.partition(':')
    if kind == 'unix':
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(rest)
        return sock
    host, port = rest.split(':')
    return socket.create_connection((host, int(port)), timeout=30)


# -- what goes wrong; each gets both sides and where the destination listens

def rubbish(data, _src, _dst, uri):
    """Somebody else comes, says that, and goes."""
    with connect(uri) as sock:
        sock.sendall(data)


def through(make, src, _dst, uri):
    """The source is at the other end of something that damages the stream."""
    with make(uri) as link:
        start_migration(src, link.uri, {'return-path': True},
                        {'max-bandwidth': SLOW})
        wait_migration(src, 'failed')


def damaged(damage):
    return functools.partial(through, lambda uri: Proxy(uri, damage))


def cut_at(size):
    """The link is cut when that much has gone through."""
    def make(uri):
        seen = 0

        def watch(data):
            nonlocal seen
            seen += len(data)
            if seen >= size:
                link.cut()
        link = Link(uri, watch)
        return link
    return functools.partial(through, make)


def transferred(src):
    return src.qmp('query-migrate').get('ram', {}).get('transferred', 0)


def cancelled(src, dst, uri):
    """The source thinks better of it."""
    start_migration(src, uri, params={'max-bandwidth': SLOWER})
    wait_for(lambda: dst.qmp('query-migrate').get('status') == 'active' and
             transferred(src) > 2 * MIB, 30,
             lambda: f'{dst.qmp("query-migrate")}; {dst.says()}')
    src.qmp('migrate_cancel')
    wait_migration(src, 'cancelled')


# name: what goes wrong, what the destination says of it
FAILURES = {
    'a port scan': (functools.partial(rubbish, b''), 'too early'),
    'rubbish': (functools.partial(rubbish, b'GET / HTTP/1.0\r\n\r\n'),
                'no migration stream'),
    'another version': (functools.partial(rubbish, MAGIC + b'\0\0\0\5'),
                        'version'),
    'rubbish behind the preamble':
        (functools.partial(rubbish, MAGIC + b'\0\0\0\4' + b'?' * 999),
         'damaged'),
    'a cut in the memory': (cut_at(8 * MIB), "'ram'"),
    'a bit in what is said of memory': (damaged(at_head(8 * MIB, turned)),
                                        "'ram'"),
    'a byte less in the memory': (damaged(at_position(9 * MIB, without)),
                                  'got'),
    'a bit in the last devices': (damaged(at_content(LAST, turned)), 'got'),
    'a cancelled migration': (cancelled, 'too early'),
}


def fails(src, dst, uri, failure, word):
    """One try, after which all is as before, but for the reason."""
    before = resources(dst)
    failure(src, dst, uri)
    why = wait_failed(dst)
    check(word in why, f'{word!r} is missing in: {why}')
    check(not obscure(why), f'it is obscure: {why}')
    check(why in dst.hmp('info migrate'), 'HMP says something else')
    check(why in dst.stderr(), f'{why!r} is not what {dst.says()}')
    wait_resources(dst, before)
    src.wait_status('running')
    src.console.wait_beats(1)


def succeeds(src, dst, uri):
    migrate(src, uri, params={'max-bandwidth': FAST})
    last = src.console.beats()[-1]
    dst.wait_status('running')
    equal(dst.qmp('query-migrate')['status'], 'completed', 'destination')
    dst.console.wait_generations(2)
    src.console.check()
    check(dst.console.beats()[0].number >= last.number,
          'the guest has gone back')


def one_after_the_other(machine):
    """All that can go wrong, twice."""
    with linux_pair(BUILT, BUILT, machine) as (src, dst, uri):
        for failure, word in [*FAILURES.values()] * 2:
            fails(src, dst, uri, failure, word)
            uri = again(dst)
        src.set_caps(return_path=False)
        succeeds(src, dst, uri)


def with_settings(machine, caps=None, make=None, kind=None, unix=False):
    """Cancelled, and cut short by somebody else, three times."""
    with tempdir() as directory:
        tls = {}
        if make:
            where = make(directory / 'tls')
            tls = {'tls': True,
                   'src_args': credentials(kind, where, 'client'),
                   'dst_args': credentials(kind, where, 'server')}
        listen = f'unix:{directory}/socket' if unix else 'tcp:127.0.0.1:0'
        with linux_pair(BUILT, BUILT, machine, uri=listen if unix else None,
                        caps=caps, **tls) as (src, dst, uri):
            for _ in range(3):
                fails(src, dst, uri, cancelled, '')
                uri = again(dst, listen)
            succeeds(src, dst, uri)


def meanwhile(dst):
    """What somebody may do who looks what has happened."""
    equal(dst.status(), 'inmigrate', 'status')
    for command in ('query-block', 'query-cpus-fast', 'query-pci',
                    'query-chardev', 'query-migrate-parameters', 'query-yank'):
        dst.qmp(command)
    dst.hmp('info registers')
    dst.hmp('info mtree')
    dst.qmp('device_add', driver='usb-mouse', id='more', bus='usb.0')
    dst.qmp('device_del', id='more')
    for command in ({'cmd': 'migrate-recover', 'uri': 'tcp:127.0.0.1:0'},
                    {'cmd': 'migrate-pause'},
                    {'cmd': 'yank', 'instances': [{'type': 'migration'}]},
                    {'cmd': 'migrate-incoming', 'uri': 'nowhere:'},
                    {'cmd': 'cont'}):       # The source has its disk
        try:
            dst.qmp(**command)
        except QmpError:
            continue
        raise AssertionError(f'{command} was accepted')
    equal(dst.qmp('query-migrate')['status'], 'failed', 'status')
    equal(dst.status(), 'inmigrate', 'status')


def looked_at():
    with linux_pair(BUILT, BUILT, Q35) as (src, dst, uri):
        fails(src, dst, uri, *FAILURES['a cut in the memory'])
        meanwhile(dst)
        src.set_caps(return_path=False)
        succeeds(src, dst, again(dst))


def waits_for_a_page(machine, caps):
    """A device's state cannot be loaded without a page of memory that does
    not come, when the link is cut: neither side runs the guest.  The
    destination gets the next one."""
    caps = {'postcopy-ram': True, **caps}
    with tempdir() as directory, \
         linux_pair(BUILT, BUILT, machine, caps=caps) as (src, dst, uri):
        before = resources(dst)
        with Link(uri) as link:
            start_migration(src, link.uri, params={
                'max-bandwidth': SLOWER, 'max-postcopy-bandwidth': 4096})
            wait_for(lambda: transferred(src) > 2 * MIB, 30,
                     lambda: f'{src.qmp("query-migrate")}; {dst.says()}')
            link.deaf = True
            src.qmp('migrate-start-postcopy')
            wait_migration(src, 'postcopy-active')
            time.sleep(2)       # or it finds the cut before it needs the page
            link.cut()
            wait_failed(dst)
        check(not dst.console.beats(), 'the guest ran')
        src.kill()
        uri = again(dst)
        wait_resources(dst, before)
        disk = make_disk(directory / 'disk.qcow2')
        with run_guest(BUILT, disk, directory / 'next', machine=machine,
                       name='next source') as other:
            prepare([other], caps)
            other.console.wait_booted()
            succeeds(other, dst, uri)


def memory(vm):
    with open(f'/proc/{vm.pid}/status') as status:
        return next(int(line.split()[1]) for line in status
                    if line.startswith('VmRSS:'))


def many_times():
    with linux_pair(BUILT, BUILT, Q35) as (src, dst, uri):
        taken = []
        for _ in range(RETRIES):
            fails(src, dst, uri, *FAILURES['a bit in the last devices'])
            taken.append(memory(dst))
            uri = again(dst)
        # Some of it is freed by a thread that gets round to it later
        wait_for(lambda: memory(dst) <= taken[2] + MARGIN, 60, lambda: (
            f'KiB after each try: {taken}, and then {memory(dst)}'))
        src.set_caps(return_path=False)
        succeeds(src, dst, uri)


SETTINGS = {
    'over a unix socket': {'unix': True},
    'over TLS, x509': {'make': make_x509, 'kind': 'x509'},
    'over TLS, PSK, multifd': {'make': make_psk, 'kind': 'psk',
                               'caps': {'multifd': True}},
    'multifd': {'caps': {'multifd': True}},
    'compress': {'caps': {'compress': True}},
    'xbzrle': {'caps': {'xbzrle': True}},
    'postcopy announced': {'caps': {'postcopy-ram': True}},
    'postcopy announced, preempt': {'caps': {'postcopy-ram': True,
                                             'postcopy-preempt': True}},
}

with Tap('another try, with a running Linux guest') as t:
    for name in Q35, I440FX:
        t.case(f'{name}: all that can go wrong, twice, then it is there',
               one_after_the_other, name)
    for number, (what, settings) in enumerate(SETTINGS.items()):
        name = (Q35, I440FX)[number % 2]
        t.case(f'{name}: {what}', with_settings, name, **settings)
    t.case(f'{Q35}: a postcopy that waits for a page', waits_for_a_page, Q35,
           {})
    t.case(f'{I440FX}: a postcopy that waits for a page, preempt',
           waits_for_a_page, I440FX, {'postcopy-preempt': True})
    t.case('looked at between two tries', looked_at)
    t.case(f'{RETRIES} times', many_times)
