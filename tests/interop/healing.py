#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages that are damaged on their way come again: the destination's memory is
the source's, to the byte.  What stays damaged is refused, naming the page, and
the source runs on.
"""

import collections
import contextlib
import os

from harness.qemu import (BUILT, Qemu, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.live import linux_pair, prepare
from interop.pages import Pages

MACHINE = 'pc-q35-7.2-v4'
MIB = 1 << 20
MEMORY, RANDOM = 24 * MIB, 12 * MIB
MULTIFD = {'multifd': True}
# A guest that runs dirties its memory meanwhile.
SLOW = {'max-bandwidth': 40 * MIB}


def memory(vm, path):
    vm.qmp('pmemsave', val=0, size=MEMORY, filename=str(path))
    return path.read_bytes()


class Once:
    """Damages the pages that choose(connection, block, offset) wants, each of
    them the first few times that it comes."""

    def __init__(self, choose, times=1):
        self.choose = choose
        self.times = times
        self.seen = collections.Counter()

    def __call__(self, *page):
        if not self.choose(*page):
            return False
        self.seen[page[1:]] += 1
        return self.seen[page[1:]] <= self.times


@contextlib.contextmanager
def pair(caps, params, damages):
    """A stopped machine with random memory, a destination, and the link that
    damages pages; in the end the memory of both has to be equal."""
    with tempdir() as directory:
        path = directory / 'random'
        path.write_bytes(os.urandom(RANDOM))
        args = ['-S', '-m', f'{MEMORY // MIB}M']
        with Qemu(BUILT, *args, '-device',
                  f'loader,file={path},addr={8 * MIB:#x},force-raw=on',
                  machine=MACHINE) as src, \
             Qemu(BUILT, *args, machine=MACHINE, incoming='defer') as dst:
            prepare((src, dst), caps, params)
            dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
            with Pages(dst.listens_at(), damages) as link:
                yield src, dst, link
            check(memory(src, directory / 'here') ==
                  memory(dst, directory / 'there'),
                  'the destination\'s memory is not the source\'s')


def stopped(damages, caps=None, params=None, exact=True):
    """Migrates a stopped machine, and returns how many pages were healed, and
    how often there was damage: to a page each, if that is exact, or to all of
    a packet."""
    with pair(caps, params, damages) as (src, dst, link):
        here = migrate(src, link.uri)
        there = wait_migration(dst)
        equal(there['stream']['damaged'], len(link.hurt) if exact else
              there['stream']['damaged'], 'pages that came damaged')
        check(f'healed: {here["ram"]["healed"]} pages' in
              src.hmp('info migrate'), 'HMP does not say so')
        return here['ram']['healed'], len(link.hurt)


def in_ram(every):
    """Some of the pages of random numbers."""
    return lambda _, block, offset: (block == 'pc.ram' and
                                     8 * MIB <= offset < 20 * MIB and
                                     offset // 4096 % every == 1)


def heals(caps=None, params=None, every=100, times=1, exact=True):
    healed, hurt = stopped(Once(in_ram(every), times), caps, params, exact)
    check(hurt >= RANDOM // 4096 // every * times * exact,
          f'not much was damaged: {hurt}')
    if exact:
        equal(healed, hurt, 'pages that were healed')
    else:
        check(healed >= hurt > 5, f'{healed} pages healed, {hurt} damaged')


class Turns:
    """Damages every second page, the others when they come again, and so on:
    none of them twice in a row."""

    def __init__(self):
        self.seen = collections.Counter()

    def __call__(self, _, block, offset):
        if block != 'pc.ram' or not 8 * MIB <= offset < 20 * MIB:
            return False
        self.seen[offset] += 1
        return (offset // 4096 + self.seen[offset]) % 2 == 0


def many(damages, caps=None, times=1):
    """More pages than a verdict has room for: what another verdict names is
    not held against any page, and nothing else is sent again."""
    healed, hurt = stopped(damages, caps)
    equal(hurt, RANDOM // 4096 // 2 * times, 'pages that were damaged')
    equal(healed, hurt, 'pages sent again')


def one(caps=None, connections=(0,)):
    """A single bit, wherever it is, on the first of some connections that has
    pages: which of them has any is up to their threads."""
    chosen = []

    def choose(count, *page):
        if count in connections and not chosen:
            chosen.append(page)
            return True
        return False
    equal(stopped(choose, caps), (1, 1), 'pages that were healed')


def nothing(caps=None):
    equal(stopped(lambda *_: False, caps), (0, 0), 'pages that were healed')


def live(caps, **options):
    with linux_pair(BUILT, BUILT, MACHINE, caps=caps, params=SLOW,
                    **options) as (src, dst, uri):
        # The guest looks for what it wrote, and did not change for a while.
        damages = Once(lambda _, block, offset: offset // 4096 % 50 == 7)
        with Pages(uri, damages) as link:
            info = migrate(src, link.uri, timeout=120)
        dst.wait_status('running')
        dst.console.wait_generations(2)
        src.console.check()
        check(0 < info['ram']['healed'] <= len(link.hurt),
              f'{len(link.hurt)} damaged: {info["ram"]}')
        equal(wait_migration(dst)['stream']['damaged'], info['ram']['healed'],
              'pages that came damaged, and pages that were healed')


def before_postcopy(caps):
    """What was damaged before the guest moves comes in the course of that."""
    with linux_pair(BUILT, BUILT, MACHINE, caps={'postcopy-ram': True, **caps},
                    params={'max-bandwidth': 5 * MIB}) as (src, dst, uri):
        damages = Once(lambda _, block, offset: offset // 4096 % 50 == 7)
        with Pages(uri, damages) as link:
            start_migration(src, link.uri)
            wait_for(lambda: len(link.hurt) > 20, 60, lambda: src.says())
            src.qmp('migrate-start-postcopy')
            dst.wait_status('running')
            info = wait_migration(src, timeout=120)
            wait_migration(dst, timeout=120)
        dst.console.wait_generations(2)
        src.console.check()
        check(0 < info['ram']['healed'] <= len(link.hurt),
              f'{len(link.hurt)} damaged: {info["ram"]}')


def many_before_postcopy(caps):
    """More than a verdict names; there is no other one."""
    with pair({'postcopy-ram': True, **caps}, {'max-bandwidth': 4 * MIB},
              Once(in_ram(2))) as (src, dst, link):
        start_migration(src, link.uri)
        wait_for(lambda: len(link.hurt) > 1200, 60, lambda: src.says())
        src.qmp('migrate-start-postcopy')
        info = wait_migration(src, timeout=120)
        wait_migration(dst, timeout=120)
        check(info['ram']['healed'] >= len(link.hurt),
              f'{len(link.hurt)} damaged: {info["ram"]}')


def stays_damaged(caps=None):
    """A page that always comes damaged."""
    where = 0x123000
    with tempdir() as directory:
        path = directory / 'random'
        path.write_bytes(os.urandom(RANDOM))
        with Qemu(BUILT, '-m', f'{MEMORY // MIB}M', '-device',
                  f'loader,file={path},addr={MIB:#x},force-raw=on',
                  machine=MACHINE) as src, \
             Qemu(BUILT, '-m', f'{MEMORY // MIB}M', machine=MACHINE,
                  incoming='defer') as dst:
            src.qmp('stop')
            src.qmp('pmemsave', val=where, size=4096,
                    filename=str(directory / 'page'))
            src.qmp('cont')
            prepare((src, dst), caps)
            dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
            with Pages(dst.listens_at(), lambda _, block, offset:
                       (block, offset) == ('pc.ram', where)) as link:
                start_migration(src, link.uri)
                info = wait_migration(src, 'failed')
            words = "block 'pc.ram', offset 0x123000: the page came damaged 3"
            check(words in info['error-desc'], f'the source: {info}')
            src.wait_status('running')
            there = wait_migration(dst, 'failed')
            check(words in there['error-desc'], f'the destination: {there}')


with Tap('pages that are damaged on their way') as t:
    t.case('none', nothing)
    t.case('none, multifd', nothing, MULTIFD)
    t.case('one bit in the main stream', one)
    t.case('one bit on a channel', one, MULTIFD, (1, 2))
    t.case('pages in the main stream', heals)
    t.case('pages on channels', heals, MULTIFD)
    for name, caps in ('', {}), (', multifd', MULTIFD):
        t.case(f'more than a verdict names{name}', many, Turns(), caps)
    t.case('more than a verdict names, and damaged again', many,
           Once(in_ram(2), 3), MULTIFD, 3)
    t.case('pages that come damaged again', heals, MULTIFD, times=2)
    for method in 'zlib', 'zstd':
        t.case(f'compressed with {method}', heals, MULTIFD,
               {'multifd-compression': method}, exact=False)
    t.case('under a running guest', live, {})
    t.case('under a running guest, multifd', live, MULTIFD)
    t.case('before a postcopy', before_postcopy, {})
    t.case('before a postcopy, multifd', before_postcopy, MULTIFD)
    t.case('before a postcopy, more than a verdict names',
           many_before_postcopy, MULTIFD)
    t.case('a page that stays damaged', stays_damaged)
    t.case('a page that stays damaged, multifd', stays_damaged, MULTIFD)
