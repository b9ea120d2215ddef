# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast `qemu-vmstate verify` reads a stream that is in memory."""

import os
import subprocess
import time

from bench import rounds
from harness.qemu import BUILT, ROOT, Qemu, wait_migration

TOOL = os.environ.get('QEMU_VMSTATE', f'{ROOT}/build/bin/qemu-vmstate')


def record(work, size):
    """Writes the stream of a guest with random memory to a file."""
    image, file = work / 'memory', work / 'stream'
    rounds.fill(image, size, True)
    with Qemu(BUILT, '-S', '-m', f'{size >> 20}M', '-object',
              f'memory-backend-file,id=ram,size={size},mem-path={image},'
              'share=on', machine='pc-q35-7.2-v4,memory-backend=ram') as source:
        source.set_params(max_bandwidth=rounds.NO_LIMIT)
        source.qmp('migrate', uri=f'exec:cat > {file}')
        wait_migration(source, timeout=rounds.TIMEOUT)
    image.unlink()
    return file


def once(file):
    """Seconds, CPU seconds and bytes."""
    began = time.monotonic()
    process = subprocess.Popen([TOOL, 'verify', file],
                               stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f'qemu-vmstate verify: {process.returncode}')
    return {'seconds': took, 'cpu': usage.ru_utime + usage.ru_stime,
            'bytes': file.stat().st_size}
