#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Subsections that do not go together: refused where they are saved, where
they would go, and where they come from somewhere else, by name and with what
is valid; the guest runs on.

Devices are never in such a state.  So a copy of QEMU gets another opinion of
what is valid: the text in it is exchanged for one of the same length.
"""

import contextlib
import json
import pathlib
import subprocess

from harness.qemu import (BUILT, QEMU_IMG, Qemu, environment, migrate, tempdir,
                          wait_for, wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop import wire
from interop.live import record_stream
from interop.retrying import wait_failed
from interop.stream import Stream
from tool.run import run

V4 = 'pc-q35-7.2-v4'
FIRMWARE = pathlib.Path(BUILT).resolve().parent / 'pc-bios'
TAG = 'saved'

# What is valid, what somebody else thinks is, and what is so of both in words
FW_CFG = (b'[dma] [acpi_mr]\0', b'dma | [acpi_mr]\0')
E1000 = (b'[mit_state] [full_mac_state] [tx_tso_state]\0',
         b'mit_state | full_mac_state | tx_tso_state  \0')
WRONG = (b'[dma] [acpi_mr]\0', b'[dma] [acpi_xx]\0')
EARLY = ["device 'fw_cfg' (instance 0): subsections of 'fw_cfg' do not go "
         "together: expected 'fw_cfg/dma | [fw_cfg/acpi_mr]', got 'fw_cfg/dma "
         "+ fw_cfg/acpi_mr'"]
LATE = ["/e1000' (instance 0): ",
        "subsections of 'e1000' do not go together: expected 'e1000/mit_state "
        "| e1000/full_mac_state | e1000/tx_tso_state', got 'e1000/mit_state + "
        "e1000/full_mac_state + e1000/tx_tso_state'"]


def words(said, wanted):
    for word in wanted:
        check(word in said, f'{word!r} is missing in: {said}')


@contextlib.contextmanager
def builds(*opinions):
    """A directory, and a QEMU there for each opinion."""
    with tempdir() as directory:
        code = pathlib.Path(BUILT).read_bytes()
        paths = []
        for i, (valid, other) in enumerate(opinions):
            equal(len(valid), len(other), 'length of an opinion')
            equal(code.count(b'\0' + valid), 1, f'{valid} in QEMU')
            paths.append(directory / f'qemu-{i}')
            paths[-1].write_bytes(code.replace(b'\0' + valid, b'\0' + other))
            paths[-1].chmod(0o755)
        yield directory, *paths


@contextlib.contextmanager
def machine(binary, *args, **options):
    with Qemu(binary, '-L', FIRMWARE, '-m', '16M', '-device', 'e1000', *args,
              machine=V4, **options) as vm:
        yield vm


def disk(directory):
    """Options for an image that a snapshot can be in."""
    path = directory / 'disk'
    subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', path, '1M'],
                   check=True, timeout=60)
    return ['-blockdev', f'qcow2,node-name=disk,file.driver=file,'
            f'file.filename={path}', '-device',
            'virtio-blk-pci,drive=disk']


def refused(vm, uri):
    """Why migrate is, at once."""
    try:
        vm.qmp('migrate', uri=uri)
    except QmpError as error:
        return str(error)
    raise AssertionError(f'it is not refused to go to {uri}')


def job(vm, kind):
    """What becomes of a job that saves a snapshot."""
    vm.qmp(f'snapshot-{kind}', job_id='job', tag=TAG, vmstate='disk',
           devices=['disk'])
    said = wait_for(lambda: next(
        (j.get('error', 'no error') for j in vm.qmp('query-jobs')
         if j['status'] == 'concluded'), None), 60, lambda: 'the job runs on')
    vm.qmp('job-dismiss', id='job')
    return said


def runs_on(vm):
    vm.wait_status('running')
    check('There is no snapshot available' in vm.hmp('info snapshots'),
          'there is a snapshot')


def early():
    """Before anything is sent, whatever the way."""
    with builds(FW_CFG) as (directory, other), \
         machine(other, *disk(directory)) as vm:
        for uri in (f'unix:{directory}/nobody', f'exec:cat > {directory}/out',
                    f'file:{directory}/out'):
            words(refused(vm, uri), EARLY)
        check('status' not in vm.qmp('query-migrate'), 'it has begun')
        check(not (directory / 'out').exists(), 'something was sent')
        words(vm.hmp(f'savevm {TAG}'), EARLY)
        words(job(vm, 'save'), EARLY)
        runs_on(vm)
        # Version 3 knows of no combinations
        migrate(vm, f'exec:cat > {directory}/out',
                params={'stream-version': 3})


def late():
    """The network card has to be prepared first, so that the guest was
    stopped for it."""
    with builds(E1000) as (directory, other), \
         machine(other, *disk(directory)) as vm:
        for uri in f'exec:cat > {directory}/out', f'file:{directory}/file':
            vm.qmp('migrate', uri=uri)
            words(failed(vm), LATE)
            runs_on(vm)
        words(vm.hmp(f'savevm {TAG}'), ['Error while writing VM state', *LATE])
        runs_on(vm)
        words(job(vm, 'save'), LATE)
        runs_on(vm)


def failed(vm):
    """Why a migration has failed."""
    return wait_migration(vm, 'failed')['error-desc']


def late_live():
    """The same with a destination, which hears nothing of it but the end."""
    with builds(E1000) as (directory, other), machine(other) as src, \
         machine(BUILT, incoming='defer') as dst:
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        src.qmp('migrate', uri=f'unix:{directory}/socket')
        words(failed(src), LATE)
        src.wait_status('running')
        equal(dst.status(), 'inmigrate', 'the destination')


def postcopy():
    """It begins with the devices' state, or not at all."""
    with builds(E1000) as (directory, other), machine(other) as src, \
         machine(BUILT, incoming='defer') as dst:
        for vm in src, dst:
            vm.set_caps(postcopy_ram=True)
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        src.set_params(**{'max-bandwidth': 1 << 16})
        src.qmp('migrate', uri=f'unix:{directory}/socket')
        wait_for(lambda: src.qmp('query-migrate')['status'] == 'active', 60,
                 lambda: src.qmp('query-migrate'))
        src.qmp('migrate-start-postcopy')
        words(failed(src), LATE)
        src.wait_status('running')


def there():
    """The destination thinks otherwise, and is asked before memory is sent."""
    with builds(FW_CFG) as (directory, other), machine(BUILT) as src, \
         machine(other, incoming=f'unix:{directory}/socket') as dst:
        facts = [directory / 'src.json', directory / 'dst.json']
        for vm, path in zip((src, dst), facts):
            path.write_text(json.dumps(vm.qmp('query-vmstate')))
        said = run('compat', *facts)
        equal(said.status, 1, 'qemu-vmstate compat')
        words(said.out, [EARLY[0] + ', on the destination'])
        src.qmp('migrate', uri=f'unix:{directory}/socket')
        words(failed(src), [EARLY[0] + ', on the destination'])
        src.wait_status('running')


def there_when_it_comes():
    """What the source only knows when it saves is refused when it is loaded."""
    with builds(E1000) as (directory, other), machine(BUILT) as src, \
         machine(other, incoming='defer') as dst:
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        src.qmp('migrate', uri=f'unix:{directory}/socket')
        words(failed(src), ['the destination refused', "/e1000' (instance 0)",
                            LATE[1]])
        src.wait_status('running')
        equal(dst.status(), 'inmigrate', 'the destination')


def automatic():
    """With a version that is left to both sides."""
    with builds(FW_CFG) as (directory, other), machine(other) as src, \
         machine(BUILT, incoming=f'unix:{directory}/socket'):
        src.set_params(**{'stream-version': 'auto'})
        src.qmp('migrate', uri=f'unix:{directory}/socket')
        words(failed(src), [EARLY[0] + ', on the source itself'])
        src.wait_status('running')


def by_hand(change, wanted):
    """A stream that no source has sent."""
    args = '-device', 'virtio-rng-pci'
    with tempdir() as directory:
        stream = Stream(record_stream(V4, directory, *args))
        record = next(r for r in stream.records
                      if r.identifies and r.name.endswith('/virtio-rng'))
        tree = stream.tree(record)
        frame = next(f for f, _ in tree.walk() if f.name == 'virtio')
        change(frame.subsections)
        for each, _ in tree.walk():
            each.count = each.length = None
        stream.store(record, tree.encode())
        path = directory / 'stream'
        path.write_bytes(wire.encode(stream.records))
        with Qemu(BUILT, '-S', '-m', '16M', *args, machine=V4,
                  incoming='defer') as dst:
            dst.qmp('migrate-incoming', uri=f'exec:cat {path}')
            words(wait_failed(dst), ["/virtio-rng' (instance 0)", *wanted])


def without(name):
    def change(subsections):
        names = [frame.name for frame in subsections]
        del subsections[names.index(f'virtio/{name}')]
    return change


def again(subsections):
    subsections.append(subsections[0])


def wrong():
    """A whitelist that names what is not there: such a QEMU does not start."""
    with builds(WRONG) as (_, other):
        done = subprocess.run(
            [other, '-L', FIRMWARE, '-machine', V4, '-display', 'none', '-S',
             '-nodefaults'], env=environment(), timeout=60, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        check(done.returncode != 0, 'it starts')
        words(done.stderr, ["structure 'fw_cfg': combinations, byte 7: there "
                            "is no subsection 'acpi_xx'"])


with Tap('subsections that do not go together') as tap:
    tap.case('found before anything is sent', early)
    tap.case('found when it is saved', late)
    tap.case('found when it is saved, with a destination', late_live)
    tap.case('a postcopy', postcopy)
    tap.case('found by what the destination says', there)
    tap.case('found when it is loaded', there_when_it_comes)
    tap.case('the version is left to the two sides', automatic)
    tap.case('by hand: what others rest on is missing', by_hand,
             without('64bit_features'),
             ["subsections of 'virtio' do not go together", 'expected',
              "got 'virtio/virtqueues"])
    tap.case('by hand: one comes twice', by_hand, again, ['comes twice'])
    tap.case('a whitelist that is wrong', wrong)
