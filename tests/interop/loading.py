# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that load streams which are not right, and what they may say.

Not a test: no TAP in here.
"""

import contextlib
import random
import re
import subprocess

from harness.qemu import (BUILT, QEMU_IMG, Qemu, crash_report, environment,
                          spawn, wait_for, wait_migration)
from harness.tap import check
from interop.vmstate import VmState
from witness import byte_identity, machines

LOAD_TIMEOUT = 120
TAG, NODE, JOB = 'saved', 'vmstate', 'load'
# So large that what is added to a stream finds room in the last one.
CLUSTER = '2M'
ROOM = 1 << 19      # a record that comes twice, and what stands behind it

SHOWN = 5       # wrong answers per case; more would not say more

# What thousands of loads may take beyond the first, in KiB.  Some devices lose
# memory each time, and what a reset frees waits for QEMU's RCU thread, on a
# busy machine for long: 60 MiB or more.  What is allocated on the stream's word
# would be gigabytes.
MARGINS = {'VmHWM': 768 << 10, 'VmPeak': 1 << 20}

# Numbers and addresses that nobody can do anything with.
OBSCURE = re.compile(
    r'[Ee]rror:? -\d|errno|\bret(urned|val)?\W{0,3}-\d|: -\d+$|'
    r'instance(_id)? 0x|load of migration failed|'
    r'^[^:]*: (Invalid argument|Input/output error|Operation not permitted|'
    r'No such file or directory)$', re.M)


def obscure(text):
    """The lines of a refusal that have something obscure in them."""
    return [line for line in text.splitlines() if OBSCURE.search(line)]


def unwell(said, offsets=None, places=None, words=()):
    """What is wrong with the words of a refusal, or None.

    offsets   of records at which it may have been found
    places    what the place may be called
    """
    found = re.search(r'record at offset (\d+)', said)
    if obscure(said):
        return f'it is obscure: {said}'
    if offsets and not (found and int(found.group(1)) in offsets):
        return f'offset is not {offsets}: {said}'
    if places and not any(place in said for place in places):
        return f'place is not {places}: {said}'
    for word in words:
        if word not in said:
            return f'{word!r} is missing: {said}'
    return None


class Findings:
    """How many were tried of each kind, and which answers were wrong."""

    def __init__(self):
        self.tried = {}
        self.wrong = {}

    def note(self, kind, wrong):
        self.tried[kind] = self.tried.get(kind, 0) + 1
        if wrong:
            self.wrong.setdefault(kind, []).append(wrong)

    def check(self, kind):
        tried, wrong = self.tried.get(kind, 0), self.wrong.get(kind, [])
        check(tried, 'nothing was tried')
        check(not wrong, f'{len(wrong)} of {tried}:\n' +
              '\n'.join(wrong[:SHOWN]))

    def total(self):
        return sum(self.tried.values())


class Loader:
    """A machine with one of machines.SETS plugged in, that loads streams in
    turn out of a snapshot.

    stream   what it has saved
    """

    def __init__(self, machine, devices, directory):
        self._exits = contextlib.ExitStack()
        # Memory that is saved as it is may take the stream past the clusters
        # that it filled: more are made then, with room in the last.
        if not any(self._start(machine, devices, directory, filler)
                   for filler in (0, ROOM)):
            raise AssertionError('there is no room for more in the snapshot')
        self._heard = len(self.vm.stderr())
        said = self.load(self.stream)
        if said is not None:
            self._exits.close()
            raise AssertionError(f'what was saved is refused: {said}')
        self._peaks = peaks(self.vm)

    def _start(self, machine, devices, directory, filler):
        """Saves the machine, with that much in its memory: whether there is
        room for longer streams behind what was saved."""
        path = directory / f'{machine}-{devices}.qcow2'
        image = directory / f'{machine}-{devices}.memory'
        subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', '-o',
                        f'cluster_size={CLUSTER}', path, '1M'], check=True,
                       timeout=60, stdin=subprocess.DEVNULL)
        image.write_bytes(random.Random(0).randbytes(filler))
        with contextlib.ExitStack() as exits:
            exits.callback(path.unlink)
            exits.callback(image.unlink)
            self.vm = exits.enter_context(byte_identity.machine(
                BUILT, machine, devices, '-blockdev',
                f'qcow2,node-name={NODE},file.driver=file,'
                f'file.filename={path}', *(
                    ['-device', f'loader,file={image},addr={1 << 20},'
                                'force-raw=on'] if filler else [])))
            error = self._job('snapshot-save')
            check(error is None, f'the machine was not saved: {error}')
            self.state = exits.enter_context(contextlib.closing(
                VmState(path)))
            self.stream = self.state.stream
            if self.state.room - len(self.stream) < ROOM:
                return False
            self._exits = exits.pop_all()
        return True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self._exits.__exit__(*error)

    def load(self, stream):
        """Loads a stream: None, or why it was refused, with what was written
        to stderr meanwhile."""
        self.state.write(stream)
        error = self._job('snapshot-load')
        said = self.vm.stderr()
        wrote, self._heard = said[self._heard:], len(said)
        crash = crash_report(None, wrote)
        check(not crash, f'{crash}: {wrote}')
        return None if error is None else '\n'.join(
            filter(None, [wrote.strip(), error]))

    def take(self):
        """Loads the stream as it was."""
        check(self.load(self.stream) is None,
              'in the end the stream as it was is refused')

    def memory(self):
        """Raises when loads have taken more memory than they may."""
        for what, now in peaks(self.vm).items():
            margin = MARGINS[what]
            check(now <= self._peaks[what] + margin, f'{what} was '
                  f'{self._peaks[what]} KiB with a stream that is right, and '
                  f'{now} KiB with others')

    def _job(self, command):
        self.vm.qmp(command, job_id=JOB, tag=TAG, vmstate=NODE,
                    devices=[NODE])
        job = wait_for(lambda: next(
            (job for job in self.vm.qmp('query-jobs')
             if job['status'] == 'concluded'), None), LOAD_TIMEOUT,
            lambda: f'{command} goes on and on; {self.vm.says()}')
        self.vm.qmp('job-dismiss', id=JOB)
        return job.get('error')


class Destinations:
    """Starts a destination for each stream that is to be refused."""

    def __init__(self, machine, devices, path, stream):
        self.options = [
            '-machine', machines.machine_option(machine, devices),
            *map(str, machines.arguments(machine, devices))]
        self.path = path
        path.write_bytes(stream)
        with destination(machine, devices) as vm:
            self.figures = take(vm, path)
            self.limit = (peaks(vm)['VmPeak'] + MARGINS['VmPeak']) << 10

    def load(self, stream):
        """(exit status, None if it has to be killed; stderr)"""
        self.path.write_bytes(stream)
        command = ['prlimit', f'--as={self.limit}', BUILT,
                   '-no-user-config', '-display', 'none', '-accel', 'tcg',
                   *self.options, '-incoming', f'exec:cat {self.path}']
        with spawn(command, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                   text=True, errors='replace', env=environment()) as process:
            try:
                _, said = process.communicate(timeout=LOAD_TIMEOUT)
                return process.returncode, said
            except subprocess.TimeoutExpired:
                return None, ''
            finally:
                process.kill()


def destination(machine, devices):
    """A destination that waits for its stream, as a Qemu."""
    return Qemu(BUILT, *machines.arguments(machine, devices), defaults=True,
                machine=machines.machine_option(machine, devices),
                incoming='defer')


def take(vm, path):
    """What query-migrate shows when a destination has loaded a file."""
    vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
    return wait_migration(vm)['stream']


def peaks(vm):
    """The most memory that a QEMU has had so far, in KiB."""
    with open(f'/proc/{vm.pid}/status') as status:
        found = dict(re.findall(r'(\w+):\s*(\d+) kB', status.read()))
    return {what: int(found[what]) for what in MARGINS}
