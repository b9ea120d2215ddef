# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs qemu-vmstate, and makes the streams that it is to read.

Not a test: no TAP in here.
"""

import dataclasses
import json
import os
import subprocess

from harness.qemu import (BUILT, ROOT, WHOLE, Qemu, environment, migrate,
                          wait_for)
from harness.tap import check, equal

TOOL = os.environ.get('QEMU_VMSTATE', f'{ROOT}/build/bin/qemu-vmstate')
TIMEOUT = 60
V3, V4 = 'pc-q35-7.2', 'pc-q35-7.2-v4'

# What has structures, arrays, subsections and blobs of many kinds
DEVICES = [option for name in (
    'virtio-net-pci', 'virtio-serial-pci', 'virtio-rng-pci',
    'virtio-balloon-pci', 'virtio-scsi-pci', 'virtio-gpu-pci', 'e1000e',
    'qemu-xhci') for option in ('-device', name)]


@dataclasses.dataclass
class Result:
    """What became of one run."""
    status: int
    out: str
    err: str

    def good(self):
        equal((self.status, self.err), (0, ''), 'status and stderr')
        return self

    def bad(self, *words, status=1):
        """It has failed with one message, which has all of the words."""
        equal(self.status, status, f'exit status ({self.err.strip()})')
        check(self.err.startswith('qemu-vmstate: '), f'said {self.err!r}')
        for word in words:
            check(word in self.err, f'{word!r} is missing in {self.err!r}')
        return self


def run(*arguments, stdin=subprocess.DEVNULL):
    """Runs the tool; stdin is bytes or a file."""
    fed = {'input': stdin} if isinstance(stdin, bytes) else {'stdin': stdin}
    done = subprocess.run([TOOL, *map(str, arguments)], timeout=TIMEOUT,
                          capture_output=True, env=environment(), check=False,
                          **fed)
    check(done.returncode >= 0, f'killed by signal {-done.returncode}: '
                                f'{done.stderr.decode()}')
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def unique(pairs):
    """For json: refuses an object that has a name twice."""
    names = [name for name, _ in pairs]
    check(len(set(names)) == len(names), f'one is twice in {names}')
    return dict(pairs)


def dump(*arguments, **options):
    """What dump says, as Python has it."""
    return json.loads(run('dump', *arguments, **options).good().out,
                      object_pairs_hook=unique)


def record(path, machine, *args, memory='16M', prepare=None):
    """Writes the stream of a stopped machine to a file, with all that could
    be in it.  Returns what query-migrate says, and what prepare() has returned
    for the machine."""
    with Qemu(BUILT, '-S', '-m', memory, *WHOLE, *args, machine=machine) as src:
        known = prepare and prepare(src)
        info = migrate(src, f'exec:cat > {path}')
        if 'stream' in info:
            size = info['stream']['bytes']
            wait_for(lambda: path.stat().st_size == size, 10,
                     lambda: f'{path.stat().st_size} of {size} bytes came')
    return info, known
