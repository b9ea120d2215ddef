# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine whose processors stand still, of which a test reads and writes
the registers; its clock goes as the test says.
"""

import json
import subprocess

from harness.qemu import (BUILT, Qemu, environment, start_migration,
                          wait_migration)
from tool.run import TOOL
from witness.qtest import Qtest

MEMORY = '16M'
FIXED = ['-S', '-smp', '1', '-rtc', 'base=2020-01-01,clock=vm',
         '-uuid', '0d5f9ea2-6e1b-4ad5-9d4e-36a3b4b7f1c4',
         # What a random write can ask for must not end the test
         '-action', 'shutdown=pause,panic=none,watchdog=none']
# What the machine says of QEMU itself differs with the options alone
TRAVEL = ['-global', 'migration.config-check=off']


class Machine:
    """vm: its QEMU; qtest: its registers.  A context manager.
    travel: options about how it is compared with the machine that arrives"""

    def __init__(self, machine, args, clock=0, incoming=None, travel=TRAVEL):
        memory = [] if '-m' in args else ['-m', MEMORY]
        if any('nvdimm' in arg for arg in args):
            machine += ',nvdimm=on'
        self.qtest = Qtest()
        try:
            self.vm = Qemu(BUILT, *FIXED, *memory, *travel, *args,
                           *self.qtest.args(), machine=machine,
                           accel='qtest', incoming=incoming,
                           pass_fds=[self.qtest.theirs.fileno()])
        except BaseException:
            self.qtest.close()
            raise
        self.qtest.started()
        if clock:
            self.qtest.clock_set(clock)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        try:
            self.vm.__exit__(*exception)
        finally:
            self.qtest.close()

    def settle(self):
        """Lets the main loop do what it was left with."""
        for _ in range(3):
            self.vm.qmp('query-name')

    def clock(self):
        return self.qtest.clock_step(0)

    def run(self):
        if self.vm.status() != 'running':
            self.vm.qmp('cont')

    def stop(self):
        self.vm.qmp('stop')

    def save(self, path, version, whole=False):
        """Stops, and leaves the state in a file, of either version; whole:
        with every subsection, in version 4."""
        self.run()
        self.stop()
        self.vm.set_params(stream_version=version)
        path.unlink(missing_ok=True)
        start_migration(self.vm, f'file:{path}' if whole else
                        f'exec:cat > {path}')
        wait_migration(self.vm)

    def load(self, path, version):
        self.vm.set_params(stream_version=version)
        # Through a pipe: what is loaded is what comes, in its order
        self.vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
        wait_migration(self.vm)

    def batch(self, lines):
        """Answers to qtest commands, with the main loop let run now and
        then, always at the same places."""
        answers = []
        for at in range(0, len(lines), BATCH):
            answers += self.qtest.batch(lines[at:at + BATCH])
            self.settle()
        return answers


# So few that QEMU reads all of them at once
BATCH = 64


def dump(path):
    """{(name, instance): {field: value}} of a stream, and the versions."""
    done = subprocess.run([TOOL, 'dump', str(path)], capture_output=True,
                          text=True, check=False, timeout=60,
                          env=environment())
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    devices = json.loads(done.stdout)['devices']
    return {(d['name'], d['instance']): {'version': d['version'],
                                         **d['fields']} for d in devices}
