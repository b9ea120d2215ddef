#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Either side is killed, or the link is cut, at every step of a version 4
migration of the Linux guest: afterwards one of them runs it, that one alone
writes its disk, and it finds its memory as it was.  Where only a person can
tell what is right, neither runs it until the person has spoken.
"""

import pathlib
import re
import subprocess

from harness.guest import make_disk, run_guest
from harness.qemu import (BUILT, ENDED, QEMU_IMG, QemuDied, is_over,
                          start_migration, tempdir, wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop.relay import (AFTER, AMID, BEFORE, DESTINATION, PLACES, SOURCE,
                           Relay)

MACHINE = 'pc-q35-7.2-v4'
FAST = 1 << 30
SOON, PATIENT = 10_000, 120_000       # peer-timeout, in milliseconds

# What comes by, in order, and who says it.
STEPS = [
    (SOURCE, 'preamble'), (SOURCE, 'hello'), (DESTINATION, 'hello'),
    (SOURCE, 'configuration'), (SOURCE, 'start'), (SOURCE, 'part'),
    (SOURCE, 'finish'), (SOURCE, 'device'), (SOURCE, 'description'),
    (SOURCE, 'index'), (SOURCE, 'end'),
    (DESTINATION, 'LOADED'), (SOURCE, 'RUN'), (DESTINATION, 'RUNNING'),
]
MOMENTS = [(*step, place) for step in STEPS for place in PLACES]
LOADED = MOMENTS.index((DESTINATION, 'LOADED', BEFORE))
HEARD = MOMENTS.index((DESTINATION, 'LOADED', AFTER))
GIVEN = MOMENTS.index((SOURCE, 'RUN', AFTER))
DONE = MOMENTS.index((DESTINATION, 'RUNNING', AFTER))

# The byte that qemu locks in an image as long as it may write to it
WRITE_LOCK = 101


def writes(vm, disk):
    """Whether a QEMU holds the lock of those who write to an image."""
    if not vm.alive():
        return False
    process = pathlib.Path(f'/proc/{vm.pid}')
    locks = []
    for fd in process.glob('fd/*'):
        if fd.exists() and fd.samefile(disk):
            info = (process / 'fdinfo' / fd.name).read_text()
            locks += re.findall(r'^lock:.* (\d+) (\d+)$', info, re.M)
    return any(int(first) <= WRITE_LOCK <= int(last) for first, last in locks)


def runs(vm):
    try:
        return vm.alive() and vm.status() == 'running'
    except QemuDied:
        return False


class Scene:
    """One guest, which goes where it is sent as long as it lives."""

    def __init__(self, directory):
        self.directory = directory
        self.disk = make_disk(directory / 'disk.qcow2')
        self.count = 0
        self.holder = None
        self.vms = []

    def start(self, incoming=None):
        self.count += 1
        vm = run_guest(BUILT, self.disk,
                       self.directory / f'console{self.count}',
                       machine=MACHINE, incoming=incoming,
                       name=f'{"destination" if incoming else "source"} '
                            f'{self.count}')
        self.vms.append(vm)
        return vm

    def stop(self, vm):
        """As a power cut does."""
        vm.kill()
        vm.close()
        self.vms.remove(vm)
        if self.holder is vm:
            self.holder = None

    def case(self, func, *args):
        """Runs one; what it leaves behind when it fails is cleared away."""
        try:
            func(self, *args)
        except Exception:
            for vm in list(self.vms):
                self.stop(vm)
            raise

    def source(self):
        """A side on which the guest runs."""
        if not self.holder:
            self.holder = self.start()
            self.holder.console.wait_booted()
        return self.holder

    def close(self):
        """Ends the guest, and looks at its disk."""
        self.source().close()
        self.vms.clear()
        self.holder = None
        subprocess.run([QEMU_IMG, 'check', '-q', self.disk], check=True,
                       timeout=60, stdin=subprocess.DEVNULL)

    def migration(self, moment, act, patience=PATIENT):
        """Begins one, with something that happens at a moment."""
        src = self.source()
        return Migration(self, src, self.start('tcp:127.0.0.1:0'), moment, act,
                         patience)


class Migration:
    """One, from its begin to the time when all that can happen has happened.

    act    what happens, of this and its relay; None for nothing
    """

    def __init__(self, scene, src, dst, moment, act, patience):
        self.scene, self.src, self.dst = scene, src, dst
        self.moment = moment
        self.happened = False
        self.relay = Relay(dst.listens_at(), {moment: lambda: self._act(act)})
        for vm in src, dst:
            vm.set_params(peer_timeout=patience)
        start_migration(src, self.relay.uri, params={'max_bandwidth': FAST})
        wait_for(self._over, 120, lambda: f'{self._states()}')
        wait_for(lambda: self.happened, 30, lambda: (
            f'{moment} was not seen: {self.relay.seen[-9:]}'))

    def _act(self, act):
        self.happened = True
        act(self)

    def _states(self):
        return [(vm.name, vm.alive() and (vm.qmp('query-migrate'),
                                          vm.status()))
                for vm in (self.src, self.dst)]

    def _over(self):
        """Whether the source has made up its mind, or is gone."""
        try:
            return self.src.qmp('query-migrate').get('status') in ENDED and (
                is_over(self.src))
        except QemuDied:
            return True

    def hand_over(self):
        return self.src.qmp('query-migrate').get('peer', {}).get('hand-over')

    def goes_on(self, vm):
        """Exactly this side runs the guest, and it is well there."""
        vm.wait_status('running')
        gone = self.src if vm is self.dst else self.dst
        check(not runs(gone), f'{gone.name} runs the guest as well')
        vm.console.wait_generations(2)
        check(not runs(gone), f'{gone.name} runs the guest as well')
        check(writes(vm, self.scene.disk), f'{vm.name} has no lock')
        check(not writes(gone, self.scene.disk), f'{gone.name} has the lock')
        self.scene.stop(gone)
        self.scene.holder = vm
        self.relay.cut()

    def wait_one(self):
        """The side that has come to run the guest."""
        return wait_for(lambda: next((vm for vm in (self.dst, self.src)
                                      if runs(vm)), None), 60,
                        lambda: f'nobody runs it: {self._states()}')

    def nobody(self):
        """Neither runs the guest, nor writes to its disk."""
        for vm in self.src, self.dst:
            check(not runs(vm), f'{vm.name} runs the guest')
            check(not writes(vm, self.scene.disk), f'{vm.name} has the lock')

    def lost(self):
        """The guest went down with the host that had it."""
        for vm in self.src, self.dst:
            self.scene.stop(vm)
        self.relay.cut()


# -- what happens

def severed(migration):
    migration.relay.sever()


def reset(migration):
    migration.relay.sever(reset=True)


def cut_for_good(migration):
    migration.relay.cut()


def silenced(migration):
    migration.relay.silence()


def held(migration):
    migration.relay.stall_for(1)


def source_dies(migration):
    migration.src.process.kill()
    migration.src.process.wait()
    # With what it has said and nobody has heard yet.
    migration.relay.sever()


def destination_dies(migration):
    migration.dst.process.kill()
    migration.dst.process.wait()
    migration.relay.sever()


# -- and what has to be then

def link(scene, moment, act):
    """It takes connections again: everything comes to its end by itself."""
    at = MOMENTS.index(moment)
    migration = scene.migration(moment, act, PATIENT if at < GIVEN else SOON)
    vm = migration.wait_one()
    if at < HEARD:
        equal(vm.name, migration.src.name, 'who runs it')
    elif at > HEARD:
        equal(vm.name, migration.dst.name, 'who runs it')
    migration.goes_on(vm)


def holds(scene, moment):
    """Nothing comes through for a while, and nobody minds."""
    migration = scene.migration(moment, held)
    equal(migration.src.qmp('query-migrate')['status'], 'completed', 'status')
    migration.goes_on(migration.dst)


def asks_again(scene, moment):
    """The connection is dead, and nobody hears of it; another one works."""
    migration = scene.migration(moment, silenced, SOON)
    equal(migration.src.qmp('query-migrate')['status'], 'completed', 'status')
    equal(migration.hand_over(), 'done', 'hand-over')
    migration.goes_on(migration.dst)


def for_good(scene, moment):
    """The link is gone when the guest was given, and a person decides."""
    migration = scene.migration(moment, cut_for_good, SOON)
    src, dst = migration.src, migration.dst
    equal(migration.hand_over(), 'in-doubt', 'hand-over')
    said = src.qmp('query-migrate')['error-desc']
    check('may run there' in said, said)
    check(not runs(src), 'the source runs the guest')
    if MOMENTS.index(moment) < GIVEN:
        wait_for(lambda: dst.qmp('query-migrate')['peer']['hand-over'] ==
                 'orphaned', 60, lambda: dst.qmp('query-migrate'))
        migration.nobody()
        source_dies(migration)
        dst.qmp('cont')
    migration.goes_on(dst)


def without_source(scene, moment):
    migration = scene.migration(moment, source_dies, SOON)
    at = MOMENTS.index(moment)
    dst = migration.dst
    if at < LOADED:
        # It has gone down with its host, as any guest does.
        equal(dst.wait_exit(60), 1, 'exit status')
        migration.lost()
        return
    if at < GIVEN:
        wait_for(lambda: dst.qmp('query-migrate')['peer']['hand-over'] ==
                 'orphaned', 60, lambda: dst.qmp('query-migrate'))
        migration.nobody()
        dst.qmp('cont')
    migration.goes_on(dst)


def without_destination(scene, moment):
    at = MOMENTS.index(moment)
    migration = scene.migration(moment, destination_dies,
                                PATIENT if at < HEARD else SOON)
    src = migration.src
    if at < HEARD:
        migration.goes_on(src)
        return
    if at == HEARD and runs(src):
        migration.goes_on(src)
        return
    equal(migration.hand_over(), 'done' if at == DONE else 'in-doubt',
          'hand-over')
    migration.nobody()
    if at < GIVEN:
        # It never ran there, as only the person knows.
        src.qmp('cont')
        migration.goes_on(src)
    else:
        # It may have.  The guest went down with its host.
        migration.lost()


def stays_paused(scene):
    """As above, when the guest is not to run on by itself."""
    src = scene.source()
    src.set_params(resume_after_failure=False)
    migration = scene.migration((SOURCE, 'end', AMID), destination_dies)
    check(not runs(src), 'it runs on')
    src.set_params(resume_after_failure=True)
    src.qmp('cont')
    migration.goes_on(src)


def cancelled(scene):
    """By a person, while the destination loads the last of it."""
    src = scene.source()
    src.set_params(peer_timeout=PATIENT)
    dst = scene.start('tcp:127.0.0.1:0')
    with Relay(dst.listens_at()) as relay:
        relay.acts[DESTINATION, 'LOADED', BEFORE] = relay.stall
        start_migration(src, relay.uri, params={'max_bandwidth': FAST})
        wait_for(lambda: src.qmp('query-migrate').get('peer', {}).get(
            'hand-over') == 'waiting', 60, lambda: src.qmp('query-migrate'))
        src.qmp('migrate_cancel')
        wait_migration(src, 'cancelled')
        src.wait_status('running')
        relay.resume()
        src.console.wait_generations(1)
        check(not runs(dst), 'the destination runs the guest as well')
        check(not writes(dst, scene.disk), 'the destination has the lock')
    scene.stop(dst)


def named(moment):
    who, what, place = moment
    return f"{place} the {who}'s {what}"


def main(t, scene):
    def cases(what, func, moments, *args):
        for moment in moments:
            t.case(f'{what} {named(moment)}', scene.case, func, moment, *args)

    cases('the link breaks', link, MOMENTS, severed)
    cases('the link is reset', link, MOMENTS[LOADED - 1:], reset)
    cases('the link stands still', holds,
          [moment for moment in MOMENTS if AMID in moment])
    cases('the connection dies', asks_again, MOMENTS[HEARD + 1:DONE])
    t.case('it is cancelled before it was given', scene.case, cancelled)
    t.case('it is not to run on by itself', scene.case, stays_paused)
    cases('the destination dies', without_destination, MOMENTS)
    cases('the link is cut for good', for_good, MOMENTS[HEARD + 1:DONE])
    cases('the source dies', without_source,
          [(SOURCE, 'part', AFTER), (SOURCE, 'end', BEFORE),
           *MOMENTS[LOADED:]])
    t.case('its disk is as it should be', scene.close)


with Tap('the hand-over') as tap, tempdir() as work:
    stage = Scene(work)
    try:
        main(tap, stage)
    finally:
        for left in list(stage.vms):
            stage.stop(left)
