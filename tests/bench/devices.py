# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the state of many devices takes to be saved and loaded.

A stopped guest with 16 virtio devices and little memory is migrated to a file
and back. The times are those of QEMU's own trace events: from the stop of the
guest to the end of the migration, and from the configuration to the end.
"""

import re
import statistics

from harness.qemu import Qemu, wait_migration

TIMES = 5
MEMORY = 16 << 20
DEVICES = ['virtio-net-pci', 'virtio-scsi-pci', 'virtio-serial-pci',
           'virtio-rng-pci'] * 4
SAVING = ('savevm_state_complete_precopy', 'migrate_set_state')
LOADING = ('loadvm_state_setup', 'qemu_loadvm_state_post_main')


def _arguments(log, events):
    args = ['-S', '-m', f'{MEMORY >> 20}M', '-nodefaults',
            '-msg', 'timestamp=on', '-D', log]
    for event in events:
        args += ['-trace', event]
    for device in DEVICES:
        args += ['-device', device]
    return args


def _times(log, events):
    """Seconds from the first event to the next one of the second kind."""
    began, found = None, []
    for match in re.finditer(r'@(\d+\.\d+):(\w+)(.*)', log.read_text()):
        when, event, rest = float(match[1]), match[2], match[3]
        if event == events[0]:
            began = when
        elif began is not None and event == events[1] and (
                event != 'migrate_set_state' or 'completed' in rest):
            found.append(when - began)
            began = None
    return found


def save_and_load(subject, work):
    """Once there and back: seconds to save, seconds to load, bytes."""
    file, log = work / 'devices', work / 'devices.log'
    log.unlink(missing_ok=True)
    with Qemu(subject.binary, *_arguments(log, SAVING),
              machine=subject.machine) as source:
        for _ in range(TIMES):
            source.qmp('migrate', uri=f'exec:cat > {file}')
            wait_migration(source)
            # Out of "postmigrate", which cannot be migrated once more
            source.wait_status('postmigrate')
            source.qmp('cont')
            source.qmp('stop')
    saved = _times(log, SAVING)
    loaded = []
    for _ in range(TIMES):
        log.unlink()
        with Qemu(subject.binary, *_arguments(log, LOADING),
                  machine=subject.machine,
                  incoming=f'exec:cat {file}') as destination:
            wait_migration(destination)
        loaded += _times(log, LOADING)
    assert len(saved) == len(loaded) == TIMES, (saved, loaded)
    return {'saved': statistics.median(saved),
            'loaded': statistics.median(loaded),
            'bytes': file.stat().st_size}
