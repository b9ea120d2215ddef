#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""COLO in version 4: checkpoint after checkpoint goes from the primary to the
secondary, and when one of them is gone the other runs on.
"""

import contextlib

from harness.guest import run_guest
from harness.qemu import BUILT, start_migration, tempdir, wait_for
from harness.tap import Tap, check, equal

Q35, I440FX = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
COLO = {'x-colo': True}
# Each stops both guests, and takes its time under TCG.
DELAY = {'x-checkpoint-delay': 1000}
CHECKPOINTS = 4


def mode(vm, wanted):
    wait_for(lambda: vm.qmp('query-colo-status')['mode'] == wanted, 60,
             lambda: f'{vm.name}: {vm.qmp("query-colo-status")}, '
                     f'{vm.qmp("query-migrate")}; {vm.says()}')


def sections(vm):
    return vm.qmp('query-migrate')['stream']['sections']


def checkpoints(vm, count):
    """Waits for that many: each sends all devices once more."""
    devices = 20
    first = sections(vm)
    wait_for(lambda: sections(vm) > first + count * devices, 60,
             lambda: f'{vm.name} is not checkpointed: {first} sections, then '
                     f'{vm.qmp("query-migrate")}; {vm.says()}')


@contextlib.contextmanager
def running(machine):
    """A pair of guests in lockstep, several checkpoints on."""
    with tempdir() as directory, \
         run_guest(BUILT, None, directory / 'primary', machine=machine,
                   name='primary') as src, \
         run_guest(BUILT, None, directory / 'secondary', machine=machine,
                   incoming='defer', name='secondary') as dst:
        for vm in src, dst:
            vm.set_caps(**COLO)
            vm.set_params(**DELAY)
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        src.console.wait_booted()
        src.console.wait_generations(1)
        start_migration(src, dst.listens_at())
        mode(src, 'primary')
        mode(dst, 'secondary')
        checkpoints(dst, CHECKPOINTS)
        src.console.wait_beats(2)
        equal(dst.qmp('query-migrate')['stream']['version'], 4, 'version')
        yield src, dst


def alone(vm, role):
    """The one that is left takes over, and finds its memory as it was."""
    event = vm.wait_event('COLO_EXIT', 60)
    equal(event['data'], {'mode': role, 'reason': 'error'}, 'COLO_EXIT')
    check('migration stream: ' in vm.stderr() and 'offset' in vm.stderr(),
          f'the {role} does not say where it ended: {vm.stderr()}')
    vm.qmp('x-colo-lost-heartbeat')
    wait_for(lambda: vm.qmp('query-colo-status')['reason'] == 'request', 30,
             lambda: f'{vm.qmp("query-colo-status")}')
    vm.wait_status('running')
    vm.console.wait_beats(3)
    vm.console.wait_generations(2)


def primary_dies(machine):
    with running(machine) as (src, dst):
        last = src.console.beats()[-1]
        src.kill()
        alone(dst, 'secondary')
        check(dst.console.beats()[-1].number > last.number,
              'the secondary is behind')


def secondary_dies(machine):
    with running(machine) as (src, dst):
        dst.kill()
        alone(src, 'primary')


with Tap('COLO in version 4') as t:
    t.case(f'{Q35}: the primary dies', primary_dies, Q35)
    t.case(f'{I440FX}: the primary dies', primary_dies, I440FX)
    t.case(f'{Q35}: the secondary dies', secondary_dies, Q35)
