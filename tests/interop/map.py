#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""State that is changed on its way: by either side, or by one there and by the
other back again.
"""

import json
import subprocess

from harness.guest import make_disk
from harness.qemu import (BUILT, WHOLE, Qemu, environment, migrate, spawn,
                          start_migration, tempdir, wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop.adopting import adopter
from interop.retrying import wait_failed

V3, V4 = 'pc-q35-7.2', 'pc-q35-7.2-v4'
QEMU_VMSTATE = BUILT.replace('qemu-system-x86_64', 'qemu-vmstate')
RNG = '-device', 'virtio-rng-pci,id=rng0,addr=5'
RNG_STATE = '0000:00:05.0/virtio-rng'

THERE = [
    {'op': 'rename-subsection', 'section': 'fw_cfg', 'from': 'fw_cfg/dma',
     'to': 'fw_cfg/elsewhere'},
    {'op': 'rename-field', 'section': 'ps2kbd', 'from': 'PS2 Common State',
     'to': 'another state'},
    {'op': 'rename-field', 'section': 'hpet', 'from': 'hpet_timer',
     'to': 'another timer'},
    {'op': 'field-width', 'section': 'serial', 'structure': 'serial',
     'field': 'divider', 'from': 16, 'to': 64},
    {'op': 'field-width', 'section': 'i8254', 'structure': 'pit channel',
     'field': 'count', 'from': 32, 'to': 64},
]
APPLIED = [1, 1, 1, 1, 3]


def back(operation):
    """What undoes an operation."""
    return {**operation, 'from': operation['to'], 'to': operation['from']}


BACK = [back(operation) for operation in THERE]


def machine(*args, name=V4, given=None, **options):
    """A stopped machine; given: operations that it is given."""
    vm = Qemu(BUILT, '-S', '-m', '16M', '-serial', 'null', *WHOLE, *args,
              machine=name, **options)
    if given is not None:
        vm.qmp('migrate-set-map', operations=given)
    return vm


def applied(vm):
    return [operation['applied']
            for operation in vm.qmp('query-migrate-map')['operations']]


def words(text, *wanted):
    for word in wanted:
        check(word in text, f'{word!r} is not in: {text!r}')


def sent(directory, *args, **options):
    """The stream of a machine, as a file."""
    path = directory / 'stream'
    with machine(*args, **options) as src:
        migrate(src, f'file:{path}')
    return path


def there_and_back():
    with tempdir() as directory, machine(given=THERE) as src, \
         machine(given=BACK, incoming='defer') as dst:
        plain = src.hmp('info registers')
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        migrate(src, f'unix:{directory}/socket')
        wait_migration(dst)
        equal(applied(src), APPLIED, 'what the source did')
        equal(applied(dst), APPLIED, 'what the destination did')
        equal(dst.hmp('info registers'), plain, 'registers')
        equal(dst.qmp('query-migrate')['stream']['skipped'], 0, 'skipped')


def in_a_file():
    """The stream has the new names, in frames and in the description; and
    another one, which was never changed, is what comes out in the end."""
    with tempdir() as directory:
        plain = sent(directory).read_bytes()
        path = sent(directory, given=THERE)
        for command in 'verify', 'dump':
            subprocess.run([QEMU_VMSTATE, command, path], check=True,
                           stdout=subprocess.DEVNULL)
        stream = path.read_bytes()
        for operation in THERE[:3]:
            # In a frame, and in the description; the mouse keeps its own.
            mouse = 2 if operation['section'] == 'ps2kbd' else 0
            check(stream.count(operation['to'].encode()) >= 2,
                  f'{operation["to"]!r} is missing')
            equal(stream.count(operation['from'].encode()), mouse,
                  operation['from'])
        with machine(given=BACK, incoming='defer') as dst:
            dst.qmp('migrate-incoming', uri=f'file:{path}')
            wait_migration(dst)
            dst.qmp('migrate-set-map', operations=[])
            equal(dst.qmp('query-migrate-map')['operations'], [], 'the map')
            again = directory / 'again'
            migrate(dst, f'file:{again}')
            equal(len(again.read_bytes()), len(plain), 'bytes')


def snapshot():
    """Saved with the one, loaded with the other, and refused without."""
    with tempdir() as directory:
        disk = make_disk(directory / 'disk.qcow2')
        with machine('-drive', f'file={disk},if=none', given=THERE) as vm:
            equal(vm.hmp('savevm there'), '', 'savevm')
            equal(applied(vm), APPLIED, 'what was done')
            vm.qmp('migrate-set-map', operations=[])
            words(vm.hmp('loadvm there'), 'fw_cfg/elsewhere')
            vm.qmp('migrate-set-map', operations=BACK)
            equal(vm.hmp('loadvm there'), '', 'loadvm')
            equal(applied(vm), APPLIED, 'what was done')


def one_side(given, *wanted):
    """Only the source changes it: whoever knows nothing of it refuses."""
    with tempdir() as directory, machine(given=given) as src, \
         machine(incoming='defer') as dst:
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        start_migration(src, f'unix:{directory}/socket')
        words(wait_failed(dst), *wanted)
        wait_migration(src, 'failed')
        # Nothing was lost: unchanged it goes.
        src.qmp('cont')
        src.qmp('stop')
        src.qmp('migrate-set-map', operations=[])
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/again')
        migrate(src, f'unix:{directory}/again')
        wait_migration(dst)


def not_there(given, *wanted, source=False):
    """An operation about what does not come, on either side."""
    with tempdir() as directory:
        path = directory / 'stream'
        with machine(given=given if source else []) as src:
            start_migration(src, f'file:{path}')
            if source:
                info = wait_migration(src, 'failed')
                words(info['error-desc'], *wanted)
                check(not path.exists(), 'there is a file')
                return
            wait_migration(src)
        with machine(given=given, incoming='defer') as dst:
            dst.qmp('migrate-incoming', uri=f'file:{path}')
            words(wait_failed(dst), *wanted)
            dst.qmp('migrate-set-map', operations=[])
            dst.qmp('migrate-incoming', uri=f'file:{path}')
            wait_migration(dst)


def does_not_fit():
    """The timers' counts are 0x10000, which 16 bits do not hold."""
    narrow = [{'op': 'field-width', 'section': 'i8254',
               'structure': 'pit channel', 'field': 'count', 'from': 32,
               'to': 16}]
    with tempdir() as directory:
        with machine(given=narrow) as src:
            src.qmp('cont')
            start_migration(src, f'file:{directory}/none')
            info = wait_migration(src, 'failed')
            words(info['error-desc'], "'count' does not fit", '16 bits')
            src.wait_status('running')
        # On the way in, of what 64 bits of a source could hold.
        wide = [{**narrow[0], 'to': 64}]
        path = sent(directory, given=wide)
        with machine(given=[{**narrow[0], 'from': 64, 'to': 16}],
                     incoming='defer') as dst:
            dst.qmp('migrate-incoming', uri=f'file:{path}')
            words(wait_failed(dst), 'section \'i8254\'',
                  'expected 16 bits on this side, got 32')


DROP = [{'op': 'drop-device', 'device': 'rng0', 'sections': [RNG_STATE]}]


def dropped(on_source):
    """A device that the destination does not have."""
    with tempdir() as directory, \
         machine(*RNG, given=DROP if on_source else []) as src, \
         machine(given=[] if on_source else DROP, incoming='defer') as dst:
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        migrate(src, f'unix:{directory}/socket')
        wait_migration(dst)
        equal(dst.qmp('query-migrate')['stream']['skipped'], 1, 'skipped')


def not_dropped():
    with tempdir() as directory:
        path = sent(directory, *RNG)
        with machine(incoming='defer') as dst:
            dst.qmp('migrate-incoming', uri=f'file:{path}')
            words(wait_failed(dst), "'rng0'", 'not there on the destination')
            dst.qmp('migrate-set-map', operations=DROP)
            dst.qmp('migrate-incoming', uri=f'file:{path}')
            wait_migration(dst)


# -- the machine

DISK = '-blockdev', ('{"driver":"null-co","node-name":"%s","size":1048576,'
                     '"read-zeroes":true}')


def scsi(name):
    return ('-device', f'virtio-scsi-pci,id={name},addr=6',
            DISK[0], DISK[1] % 'disk', '-device',
            f'scsi-hd,id=hd,bus={name}.0,drive=disk')


def nic(mac, netdev='lan'):
    return ('-netdev', f'hubport,id={netdev},hubid=0', '-device',
            f'virtio-net-pci,id=net0,netdev={netdev},addr=7,mac={mac}')


HERE, ELSEWHERE = '52:54:00:00:00:01', '52:54:00:00:00:02'
MACHINES = {
    # What both sides have, what it takes, and what is said without it.
    'a device with another id': (
        scsi('one'), scsi('other'),
        [{'op': 'rename', 'id': 'one', 'to': 'other'}], None),
    'a property with another value': (
        nic(HERE), nic(ELSEWHERE),
        [{'op': 'set-property', 'device': 'net0', 'property': 'mac',
          'value': ELSEWHERE}], "'mac' is"),
    'a device less': (RNG, (), DROP, "'rng0'"),
}


def other_machine(there, here, given, said, on_source):
    """Refused without the map, and taken with it."""
    with tempdir() as directory, machine(*there) as src, \
         machine(*here, incoming='defer') as dst:
        uri = f'unix:{directory}/socket'
        if said:
            dst.qmp('migrate-incoming', uri=uri)
            start_migration(src, uri)
            words(wait_failed(dst), said)
            wait_migration(src, 'failed')
        (src if on_source else dst).qmp('migrate-set-map', operations=given)
        dst.qmp('migrate-incoming', uri=uri + '2')
        migrate(src, uri + '2')
        wait_migration(dst)
        done = applied(src if on_source else dst)
        check(all(done), f'it was done {done} times')


def other_snapshot():
    """loadvm compares with what the map makes of the machine in it."""
    given = MACHINES['a property with another value'][2]
    with tempdir() as directory:
        disk = make_disk(directory / 'disk.qcow2')
        drive = '-drive', f'file={disk},if=none'
        with machine(*drive, *nic(HERE)) as vm:
            equal(vm.hmp('savevm there'), '', 'savevm')
        with machine(*drive, *nic(ELSEWHERE)) as vm:
            words(vm.hmp('loadvm there'), "'mac' is")
            vm.qmp('migrate-set-map', operations=given)
            equal(vm.hmp('loadvm there'), '', 'loadvm')
            equal(applied(vm), [1], 'what was done')


def cannot_be_done(given, wanted, on_source):
    """Then nothing is, and the source's guest runs on."""
    with tempdir() as directory, machine(*nic(HERE)) as src, \
         machine(*nic(HERE), incoming='defer') as dst:
        src.qmp('cont')
        (src if on_source else dst).qmp('migrate-set-map', operations=given)
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        start_migration(src, f'unix:{directory}/socket')
        info = wait_migration(src, 'failed')
        words(info['error-desc'], 'Operation 1 of the map', wanted)
        src.wait_status('running')


def adopted():
    """What becomes the machine that arrives becomes what the map says."""
    given = [*MACHINES['a device with another id'][2],
             {'op': 'rename', 'kind': 'net', 'id': 'lan', 'to': 'wan'},
             {'op': 'rename', 'kind': 'block', 'id': 'disk', 'to': 'data'},
             *MACHINES['a property with another value'][2], *DROP]
    with tempdir() as directory:
        path = directory / 'map'
        path.write_text(json.dumps(given))
        with machine(*scsi('one'), *nic(HERE), *RNG) as src, \
             adopter(options=f',map={path}') as dst:
            migrate(src, dst.listens_at())
            wait_migration(dst)
            config = dst.qmp('query-machine-config')
            devices = {device['id']: device for device in config['devices']
                       if 'id' in device}
            equal(sorted(devices), ['hd', 'net0', 'other'], 'devices')
            equal(devices['hd']['bus'], 'other.0', 'bus')
            equal(devices['net0']['properties']['mac'], ELSEWHERE, 'mac')
            equal(devices['net0']['host-properties']['netdev'], 'wan',
                  'netdev')
            equal(devices['hd']['host-properties']['drive'], 'data', 'drive')
            check(all(applied(dst)), applied(dst))


def named():
    """What is sent has another name for a property."""
    given = [{'op': 'rename-property', 'driver': 'virtio-net-pci',
              'property': 'rx_queue_size', 'to': 'queue-size'}]
    with tempdir() as directory:
        path = sent(directory, *nic(HERE), given=given)
        config = subprocess.run([QEMU_VMSTATE, 'config', path], check=True,
                                capture_output=True, text=True).stdout
        check('"queue-size"' in config and '"rx_queue_size"' not in config,
              config)


def version_3():
    """There are no names in it, and nothing is changed silently."""
    with tempdir() as directory, machine(name=V3, given=THERE) as src:
        start_migration(src, f'file:{directory}/none')
        info = wait_migration(src, 'failed')
        words(info['error-desc'], 'did not come')
        src.qmp('migrate-set-map', operations=[])
        src.qmp('cont')
        src.qmp('stop')
        migrate(src, f'file:{directory}/stream')
        with machine(name=V3, given=BACK, incoming='defer') as dst:
            dst.qmp('migrate-incoming', uri=f'file:{directory}/stream')
            check(dst.wait_exit(30) != 0, 'it was loaded')
            words(dst.stderr(), 'did not come')


def from_a_file():
    with tempdir() as directory:
        path = directory / 'map'
        path.write_text(json.dumps(THERE))
        with machine('-global', f'migration.map={path}') as vm:
            equal(applied(vm), [0] * len(THERE), 'the map')
            text = vm.qmp('query-migrate-map')['operations'][0]['text']
            words(text, "rename subsection 'fw_cfg/dma' of 'fw_cfg'")


def bad_file(text, *wanted):
    with tempdir() as directory:
        path = directory / 'map'
        if text is not None:
            path.write_text(text)
        with spawn([BUILT, '-machine', 'none', '-display', 'none', '-global',
                    f'migration.map={path}'], text=True,
                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, env=environment()) as process:
            try:
                _, said = process.communicate(timeout=30)
            finally:
                process.kill()
        equal(process.returncode, 1, f'exit status ({said.strip()})')
        words(said, str(path), *wanted)


def commands():
    with tempdir() as directory, machine() as vm:
        for given, wanted in (
                ([{'op': 'other'}], 'other'),
                ([{**THERE[0], 'to': 'fw_cfg/dma'}], 'it changes nothing'),
                ([THERE[0], THERE[0]], 'about the same'),
                ([{'op': 'rename', 'id': 'a', 'to': 'b,c=d'}], 'an id')):
            try:
                vm.qmp('migrate-set-map', operations=given)
            except QmpError as error:
                words(str(error), wanted)
            else:
                raise AssertionError(f'{given} was taken')
        start_migration(vm, f'file:{directory}/stream',
                        params={'max-bandwidth': 4096})
        try:
            vm.qmp('migrate-set-map', operations=THERE)
        except QmpError as error:
            words(str(error), 'while a migration runs')
        else:
            raise AssertionError('it was changed')
        vm.qmp('migrate_cancel')
        wait_migration(vm, 'cancelled')
        vm.qmp('migrate-set-map', operations=THERE)


def only(index, **changes):
    return [{**THERE[index], **changes}]


with Tap('state that is changed on its way') as t:
    t.case('there and back', there_and_back)
    t.case('there and back, in a file', in_a_file)
    t.case('a snapshot', snapshot)
    t.case('a subsection of a name that the destination does not know',
           one_side, THERE[:1], "'fw_cfg/elsewhere'")
    t.case('a structure of such a name', one_side, THERE[1:2],
           "expected structure 'PS2 Common State', got structure "
           "'another state'")
    t.case('a wider number than the destination expects', one_side,
           THERE[3:4], "'serial'")
    for side in False, True:
        where = 'source' if side else 'destination'
        t.case(f'a section that does not come, {where}', not_there,
               only(0, section='none'), 'operation 1 of the map',
               'did not come', source=side)
        t.case(f'a structure that does not come, {where}', not_there,
               only(1, **{'from': 'none'}), 'did not come', source=side)
        t.case(f'a field that does not come, {where}', not_there,
               only(3, field='none'), 'did not come', source=side)
    t.case('a field of another width than said', not_there,
           only(3, **{'from': 8, 'to': 32}),
           'expected 8 bits on this side, got 16', source=True)
    t.case('a value that does not fit', does_not_fit)
    t.case('a device that is dropped, by the source', dropped, True)
    t.case('a device that is dropped, by the destination', dropped, False)
    t.case('a device that is dropped, from a file', not_dropped)
    for side in False, True:
        where = 'source' if side else 'destination'
        for title, how in MACHINES.items():
            t.case(f'{title}, {where}', other_machine, *how, side)
        for title, operation, said in (
                ('a device that is not there',
                 {'op': 'rename', 'id': 'none', 'to': 'x'},
                 "there is no device 'none'"),
                ('a device that the guest needs',
                 {'op': 'drop-device', 'device': 'net0'}, 'the guest needs'),
                ('a value of another type',
                 {'op': 'set-property', 'device': 'net0', 'property': 'mac',
                  'value': 1}, 'another type')):
            t.case(f'{title}, {where}', cannot_be_done, [operation], said,
                   side)
    t.case('a snapshot of another machine', other_snapshot)
    t.case('a machine that is adopted', adopted)
    t.case('a property with another name', named)
    t.case('version 3', version_3)
    t.case('a map in a file', from_a_file)
    t.case('a map that is not there', bad_file, None, 'Could not read')
    t.case('a map that is none', bad_file, '{}', 'it is no list')
    for text, said in (('', 'cannot be read'), ('[' * 5000, 'inside each other'),
                       ('[1]', 'cannot be read'), ('rubbish', 'cannot be'),
                       (' ' * (1 << 20) + '[]', 'no text'),
                       (json.dumps(DROP * 257), 'more than 256'),
                       ('[{"op": "rename", "id": 1, "to": []}]',
                        'cannot be read')):
        t.case(f'a map of {len(text)} bytes that is none', bad_file, text, said)
    t.case('migrate-set-map', commands)
