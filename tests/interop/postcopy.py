#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Postcopy in version 4 under a running Linux guest: with and without the
channel for urgent pages, over TLS, and taken up again after the link was cut.
"""

import contextlib

from harness.qemu import (BUILT, Qemu, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.link import Link
from interop.live import Pauses, linux_pair, prepare
from interop.tls import credentials, make_psk, make_x509

Q35, I440FX = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
MIB = 1 << 20
# Slow enough that a good part of the memory is left for postcopy, however late
# that begins.
SLOW = {'max-bandwidth': 5 * MIB}
CRAWL = {**SLOW, 'max-postcopy-bandwidth': 3 * MIB}
RAM = {'postcopy-ram': True}
PREEMPT = {**RAM, 'postcopy-preempt': True}
MULTIFD = {**RAM, 'multifd': True}
BOTH = {**PREEMPT, 'multifd': True}


def transferred(vm, least):
    def enough():
        ram = vm.qmp('query-migrate').get('ram', {})
        return ram.get('transferred', 0) >= least
    wait_for(enough, 60, lambda: f'{vm.qmp("query-migrate")}; {vm.says()}')


def switch_over(src, dst, uri):
    """Starts a migration, and has the guest run on at the destination while
    most of its memory is still at the source."""
    start_migration(src, uri)
    transferred(src, 8 * MIB)
    src.qmp('migrate-start-postcopy')
    dst.wait_status('running')
    dst.console.wait_beats(1)


def figures(src, dst, lost):
    """What was sent is what came, unless a link was lost: some may have been
    on its way, and some have come of a part that the source could not end, and
    so did not count."""
    info, there = wait_migration(src), wait_migration(dst)['stream']
    here = info['stream']
    for name, value in here.items():
        if lost and name in ('bytes', 'records'):
            check(min(there[name], value) > 0, f'{name}: {there} of {here}')
        else:
            equal(there[name], value, f'{name} at the destination')
    equal(here['version'], 4, 'version')
    return info


def fine(src, dst, lost=False):
    """All of the memory has come, and is the guest's."""
    last = src.console.beats()[-1]
    info = figures(src, dst, lost)
    dst.console.wait_generations(2)
    src.console.check()
    check(dst.console.beats()[0].number >= last.number,
          'the guest has gone back')
    equal(src.status(), 'postmigrate', 'status of the source')
    check(info['ram']['postcopy-requests'] > 0, f'no page was asked: {info}')


def plain(machine, caps, **options):
    with linux_pair(BUILT, BUILT, machine, caps=caps, params=SLOW,
                    **options) as (src, dst, uri):
        switch_over(src, dst, uri)
        fine(src, dst)


def without_one(machine, caps, times=10):
    """Whichever of the connections is made first."""
    for _ in range(times):
        with Qemu(BUILT, '-S', '-m', '16M', machine=machine) as src, \
             Qemu(BUILT, '-S', '-m', '16M', machine=machine,
                  incoming='defer') as dst:
            prepare((src, dst), caps)
            dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
            migrate(src, dst.listens_at())
            wait_migration(dst)


def with_channels(machine, caps):
    """What multifd has sent before is there after."""
    with linux_pair(BUILT, BUILT, machine, caps={**caps, 'multifd': True},
                    params=SLOW) as (src, dst, uri):
        switch_over(src, dst, uri)
        ram = wait_migration(src)['ram']
        wait_migration(dst)
        check(ram['multifd-bytes'] > 4 * MIB and
              ram['postcopy-bytes'] > 4 * MIB, f'what was sent: {ram}')
        dst.console.wait_generations(2)
        src.console.check()


def over_tls(machine, caps, kind, make):
    with tempdir() as directory:
        where = make(directory / 'tls')
        plain(machine, caps, src_args=credentials(kind, where, 'client'),
              dst_args=credentials(kind, where, 'server'), tls=True)


@contextlib.contextmanager
def broken_off(machine, caps, **options):
    """A postcopy whose link was cut under way.  Gives both sides, the
    destination's pauses, and a directory."""
    with tempdir() as directory, \
         linux_pair(BUILT, BUILT, machine, caps=caps, params=CRAWL, oob=True,
                    **options) as (src, dst, uri):
        pauses = Pauses(dst)
        with Link(uri) as link:
            switch_over(src, dst, link.uri)
            transferred(src, 12 * MIB)
            link.cut()
            wait_migration(src, 'postcopy-paused')
            pauses.wait()
        yield src, dst, pauses, directory


def take_up(src, pauses, uri):
    pauses.recover(uri)
    src.qmp('migrate', uri=uri, resume=True)


def recovered(machine, caps, times=1):
    with broken_off(machine, caps) as (src, dst, pauses, directory):
        for number in range(times):
            uri = f'unix:{directory}/socket{number}'
            take_up(src, pauses, uri)
            wait_migration(src, 'postcopy-active')
            if number + 1 < times:
                dst.console.wait_beats(1)
                src.qmp('migrate-pause')
                wait_migration(src, 'postcopy-paused')
                pauses.wait()
        src.set_params(**{'max-postcopy-bandwidth': 0})
        fine(src, dst, lost=True)
        check('migration stream: ' in dst.stderr() and
              'offset' in dst.stderr(),
              f'the destination does not say where it ended: {dst.stderr()}')


def recovered_over_tls():
    with tempdir() as directory:
        where = make_psk(directory / 'tls')
        with broken_off(Q35, PREEMPT, tls=True,
                        src_args=credentials('psk', where, 'client'),
                        dst_args=credentials('psk', where, 'server')) as (
                            src, dst, pauses, directory):
            take_up(src, pauses, f'unix:{directory}/socket')
            src.set_params(**{'max-postcopy-bandwidth': 0})
            fine(src, dst, lost=True)


with Tap('postcopy in version 4 under a running Linux guest') as t:
    t.case(f'{Q35} over tcp', plain, Q35, RAM)
    t.case(f'{I440FX} over tcp, preempt', plain, I440FX, PREEMPT)
    t.case(f'{Q35} over TLS, x509', over_tls, Q35, RAM, 'x509', make_x509)
    t.case(f'{I440FX} over TLS, PSK, preempt', over_tls, I440FX, PREEMPT,
           'psk', make_psk)
    t.case(f'{Q35} after multifd', with_channels, Q35, RAM)
    t.case(f'{Q35} taken up again', recovered, Q35, RAM)
    t.case(f'{I440FX} taken up again, preempt', recovered, I440FX, PREEMPT)
    t.case(f'{Q35} taken up again, and again', recovered, Q35, RAM, 3)
    t.case(f'{Q35} taken up again over TLS, preempt', recovered_over_tls)
    t.case(f'{I440FX} over TLS, x509, multifd', over_tls, I440FX, MULTIFD,
           'x509', make_x509)
    t.case(f'{Q35} taken up again, multifd', recovered, Q35, MULTIFD)
    t.case(f'{Q35}, multifd, preempt, without a postcopy', without_one, Q35,
           BOTH)
    t.case(f'{Q35} after multifd, preempt', with_channels, Q35, PREEMPT)
    t.case(f'{I440FX} over TLS, PSK, multifd, preempt', over_tls, I440FX, BOTH,
           'psk', make_psk)
    t.case(f'{Q35} taken up again, and again, multifd, preempt', recovered, Q35,
           BOTH, 2)
