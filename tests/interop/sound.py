#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes for sound cards and no guest can have made, with checksums that
are right: where the card would reach beyond its buffers, it is refused by the
name of the value, or this side has a value of its own.
"""

from harness.qemu import STOCK, migrate, tempdir, wait_migration
from harness.tap import Tap, check, equal
from interop import frames
from interop.retrying import wait_failed
from interop.stream import Stream
from interop.using import AUDIO, DEVICES, sent, start

OLD = 'pc-q35-7.2'
MOST, LEAST = 0x7fffffff, -0x80000000
# A buffer has as many bytes, and the card counts in frames of its own
SHORT = '-audiodev', 'none,id=a,out.format=u8'
REFUSED = {
    'Sound Blaster': {
        'in_index': (-1, 11, MOST), 'out_data_len': (-1, 51, MOST),
        'fmt_stereo': (-1, 2, 31), 'time_const': (-2, 256),
        'csp_reg83r': (-1, LEAST), 'csp_reg83w': (-1, LEAST),
        'mixer_nreg': (-1, 256, MOST)},
    'channels of ES1370': {'shift': (3, -1), 'leftover': (4, -1)},
}
TAKEN = {
    'Sound Blaster': {
        'in_index': (0, 10), 'out_data_len': (0, 50), 'fmt_stereo': (0, 1),
        'time_const': (-1, 255), 'csp_reg83r': (0, MOST),
        'csp_reg83w': (0, MOST), 'mixer_nreg': (0, 255)},
    'channels of ES1370': {'shift': (0, 2), 'leftover': (0, 3)},
}


def leaves(tree, name):
    """The fields of that name, in every element of an array."""
    found = [part for frame, _ in tree.walk() for parts in frame.lists()
             for part in parts
             if isinstance(part, frames.Leaf) and part.name == name]
    check(found, f'there is no {name} in {tree.name}')
    return found


def forge(path, device, **values):
    """Puts other values into a stream."""
    stream = Stream(path.read_bytes())

    def change(tree):
        for name, value in values.items():
            for leaf in leaves(tree, name):
                leaf.data = value.to_bytes(4, 'big', signed=True)
    stream.edit(device.section, change)
    path.write_bytes(stream.encode())


def values(path, device, *names):
    """The first of each name that a stream has."""
    stream = Stream(path.read_bytes())
    tree = stream.tree(stream.find(device.section))
    return [int.from_bytes(leaves(tree, name)[0].data, 'big', signed=True)
            for name in names]


def used(directory, device, version=4, **options):
    with start(device.machine, *device.args, **options) as (vm, qtest):
        device.use(qtest)
        return sent(directory, vm, version)


def destination(device, audio=AUDIO, machine=None):
    return start(machine or device.machine, *audio,
                 *device.args[len(AUDIO):], incoming='defer')


def bounds(device, name, wrong, right):
    """A value is refused by its name, and one that is just right is taken."""
    with tempdir() as directory:
        path = used(directory, device)
        before = path.read_bytes()
        for value in wrong:
            path.write_bytes(before)
            forge(path, device, **{name: value})
            with destination(device) as (vm, _):
                vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
                why = wait_failed(vm)
                for word in device.section, name, 'expected':
                    check(word in why, f'{word!r} is missing for {value}: '
                                       f'{why}')
        for value in right:
            path.write_bytes(before)
            forge(path, device, **{name: value})
            with destination(device) as (vm, _):
                vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
                wait_migration(vm)


def live(vm, qtest):
    """It plays for a tenth of a second."""
    vm.qmp('cont')
    for _ in range(10):
        qtest.clock_step(10_000_000)
    vm.qmp('stop')


def plays(path, device, audio):
    """What a machine has of the buffer after it has loaded that, and before;
    it lives on."""
    names = 'pos', 'left', 'shift', 'samples'
    with tempdir() as directory, destination(device, audio) as (vm, qtest):
        vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
        wait_migration(vm)
        found = dict(zip(names, values(sent(directory, vm, 4), device,
                                       *names)))
        live(vm, qtest)
        return found


def own_buffer(device, **forged):
    """The buffer is as long as on this host, whatever the other one says."""
    with tempdir() as directory:
        path = used(directory, device)
        length, = values(path, device, 'samples')
        if forged:
            forge(path, device, **forged)
        for audio, own in (AUDIO, length), (SHORT, length // 2):
            found = plays(path, device, audio)
            left = found.pop('left')
            equal(found, {'pos': 0, 'shift': 2, 'samples': own}, 'loaded')
            check(0 <= left <= own, f'{left} of {own} are left')


def from_stock(device):
    """A card that a guest has used comes from the distribution's QEMU."""
    with tempdir() as directory:
        path = directory / 'stream'
        with start(OLD, *device.args, binary=STOCK, accel='tcg') as (
                vm, qtest):
            device.use(qtest)
            migrate(vm, f'exec:cat > {path}')
        for audio in AUDIO, SHORT:
            with destination(device, audio, OLD) as (vm, qtest):
                vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
                wait_migration(vm)
                live(vm, qtest)


with Tap('sound cards that nobody has') as tap:
    for card, bad in REFUSED.items():
        for value, out in bad.items():
            tap.case(f'{card}: {value}', bounds, DEVICES[card], value, out,
                     TAKEN[card][value])
    for card in 'Sound Blaster', 'Gravis Ultrasound', 'channels of ES1370':
        tap.case(f'{card}: from the distribution', from_stock, DEVICES[card])
    gus = DEVICES['Gravis Ultrasound']
    tap.case('Gravis Ultrasound: a shorter buffer', own_buffer, gus)
    for title, other in {
            'a longer one': {'samples': MOST, 'left': MOST},
            'a shift of 31': {'shift': 31},
            'a negative shift': {'shift': -1},
            'a position in it': {'pos': MOST},
            'a position before it': {'pos': -1},
            'less than nothing left': {'left': LEAST},
            'no samples': {'samples': 0}}.items():
        tap.case(f'Gravis Ultrasound: {title}', own_buffer, gus, **other)
