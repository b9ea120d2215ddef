#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations that are begun and cancelled, at any moment: what they took of
threads, files and memory is given back, on both sides, and the guest runs on.

CANCELS in the environment says how many of each kind.
"""

import collections
import os
import random
import re
import time

from harness.qemu import (BUILT, Qemu, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.link import Link
from interop.live import TLS
from interop.retrying import again, resources, wait_failed, wait_resources
from interop.tls import credentials, make_psk

MACHINE = 'pc-q35-7.2-v4'
MIB = 1 << 20
MEMORY, RANDOM, AT = 48 * MIB, 32 * MIB, 8 * MIB
CANCELS = int(os.environ.get('CANCELS', 20))
WARM = 4
LONGEST = 0.25          # seconds until a migration is cancelled
SLOW, FAST = MIB, 1 << 40
PATIENT, IMPATIENT = 30000, 1000      # milliseconds
TIMEOUT = 60
LISTEN = 'tcp:127.0.0.1:0'
# In KiB: what the allocator keeps, and stacks of threads that may come back
MARGINS = {'VmSize': 96 << 10, 'RssAnon': 24 << 10}
# title: capabilities, parameters
WAYS = {
    'in the main stream': ({}, {}),
    'multifd': ({'multifd': True}, {'multifd-channels': 4}),
    'multifd over TLS, PSK': ({'multifd': True},
                              {'multifd-channels': 4, **TLS}),
}


def memory(vm):
    with open(f'/proc/{vm.pid}/status', encoding='ascii') as status:
        found = dict(re.findall(r'(\w+):\s+(\d+) kB', status.read()))
    return {what: int(found[what]) for what in MARGINS}


def pair(directory):
    path = directory / 'random'
    path.write_bytes(os.urandom(RANDOM))
    keys = make_psk(directory / 'tls')
    common = ['-m', f'{MEMORY // MIB}M', '-mem-prealloc']
    return (Qemu(BUILT, *common, *credentials('psk', keys, 'client'),
                 '-device', f'loader,file={path},addr={AT:#x},force-raw=on',
                 machine=MACHINE),
            Qemu(BUILT, *common, *credentials('psk', keys, 'server'), '-S',
                 incoming='defer', machine=MACHINE))


def cancel(src, dst, uri, moment):
    """One try: what became of it, and where the destination listens then."""
    dst.set_params(peer_timeout=PATIENT)
    with Link(uri) as link:
        start_migration(src, link.uri)
        time.sleep(moment)
        # From now on there is nobody to wait for
        dst.set_params(peer_timeout=IMPATIENT)
        src.qmp('migrate_cancel')
        info = wait_migration(src, ('cancelled', 'failed'))
        # On a slow machine that may be enough
        check(info['status'] == 'cancelled' or
              f'after {IMPATIENT} ms' in info['error-desc'], f'{info}')
        equal(src.status(), 'running', 'status of the source')
    if not link.arrived:
        return info['status'], uri
    wait_failed(dst)
    return info['status'], again(dst)


def gives_back(vm, before):
    wait_resources(vm, before[0])
    # Some of it by a thread that gets round to it later
    wait_for(lambda: all(kib <= before[1][what] + MARGINS[what]
                         for what, kib in memory(vm).items()), TIMEOUT,
             lambda: f'{vm.name} has {memory(vm)} KiB, and had {before[1]}')


def cancels(caps, params):
    with tempdir() as directory:
        src, dst = sides = pair(directory)
        with src, dst:
            for vm in sides:
                vm.set_caps(return_path=True, **caps)
                vm.set_params(**params)
            src.set_params(max_bandwidth=SLOW)
            uri = again(dst, LISTEN)
            # The same moments in each run; what they meet is never the same
            moments = random.Random(CANCELS)
            before, became = {}, collections.Counter()
            for number in range(WARM + CANCELS):
                if number == WARM:
                    before = {vm: (resources(vm), memory(vm)) for vm in sides}
                status, uri = cancel(src, dst, uri,
                                     moments.random() * LONGEST)
                became[status] += 1
            check(became['cancelled'], f'what became of them: {became}')
            for vm in sides:
                gives_back(vm, before[vm])
            dst.set_params(peer_timeout=PATIENT)
            migrate(src, uri, params={'max-bandwidth': FAST})
            wait_migration(dst)


with Tap('migrations that are cancelled') as t:
    for title, way in WAYS.items():
        t.case(f'{CANCELS} at any moment, {title}', cancels, *way)
