#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices' state at older versions: each that can be saved at any, on request
of the monitor, the command line or the machine type, and nothing gets lost.
"""

import contextlib
import subprocess

from harness.qemu import (BUILT, QEMU_IMG, WHOLE, Qemu, migrate,
                          start_migration, tempdir, wait_for,
                          wait_migration)
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop import peer
from tool.run import dump, run
from witness import machines

PC, Q35 = 'pc-i440fx-7.2-v4', 'pc-q35-7.2-v4'

# What has more than one version, beside what the boards have themselves
DEVICES = ('-rtc base=2020-01-01,clock=vm -serial null '
           '-audiodev none,id=sound -device intel-hda '
           '-device hda-duplex,audiodev=sound -device AC97,audiodev=sound '
           '-device ne2k_isa -device ne2k_pci -device pcnet -device rtl8139 '
           '-device i82550 -device e1000 -device lsi53c895a '
           '-device am53c974 -device i6300esb -device usb-ehci '
           '-device piix3-usb-uhci -device qemu-xhci -device cirrus-vga '
           '-device ipmi-bmc-sim,id=bmc -device isa-ipmi-kcs,bmc=bmc '
           '-device isa-ide,iobase=0x168,iobase2=0x36e,irq=10').split()
# The card's receive configuration has to be what version 1 took for granted
PORTS = 'o /b 0x300 0x21', 'o /b 0x30c 0x0c'
NE2000, SERIAL, UHCI = 'ne2000', 'serial', 'uhci'


def vm(*args, machine=PC, **options):
    return Qemu(BUILT, '-S', *WHOLE, *args, machine=machine, **options)


def devices(qemu):
    return qemu.qmp('query-vmstate')['devices']


def named(qemu, name):
    """The device whose section has that name, behind its place on a bus."""
    found = [d for d in devices(qemu) if d['name'].split('/')[-1] == name]
    check(len(found) == 1, f'{len(found)} devices {name}')
    return found[0]


def least(device):
    return device.get('minimum-saved-version',
                      device.get('minimum-version', device['version']))


def ask(qemu, device, version=None, **more):
    more.update({} if version is None else {'version': version})
    qemu.qmp('migrate-set-vmstate-version', device=device, **more)


def refused(what, *words):
    """what() is refused with all of the words."""
    try:
        what()
    except (QmpError, RuntimeError) as error:
        for word in words:
            check(word in str(error), f'{word!r} is missing in {error}')
        return
    check(False, f'not refused: {words}')


def saved(qemu, path):
    """The devices of a stream, by name and instance.  It goes to a pipe: a
    file has what is not needed as well, and may not be set up."""
    size = migrate(qemu, f'exec:cat > {path}')['stream']['bytes']
    wait_for(lambda: path.stat().st_size == size, 10,
             lambda: f'{path.stat().st_size} of {size} bytes came')
    run('verify', path).good()
    return {(d['name'], d['instance']): d for d in dump(path)['devices']}


def plain(name):
    """A field's name without the number of those that there are twice."""
    return name.split('[')[0]


def differences(old, new, where=''):
    """In what new is not what old has; what old has not is left out."""
    if isinstance(old, dict) and isinstance(new, dict):
        new = {**{plain(key): new[key] for key in new}, **new}
        return [d for key in old if not key.startswith('unused')
                for d in differences(old[key],
                                     new.get(key, new.get(plain(key))),
                                     f'{where}.{key}')]
    if isinstance(old, list) and isinstance(new, list) and \
       len(old) == len(new):
        return [d for i, (a, b) in enumerate(zip(old, new))
                for d in differences(a, b, f'{where}[{i}]')]
    return [] if old == new else [f'{where}: {old} became {new}']


def prepared(machine, **options):
    qemu = vm(*DEVICES, machine=machine, **options)
    for port in PORTS:
        qemu.hmp(port)
    return qemu


def every_version(machine, depth):
    """All devices so many versions below their newest, there and back: what
    the version has is what the newest has, and what is there after loading.
    """
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempdir())
        older, newest = (stack.enter_context(prepared(machine))
                         for _ in range(2))
        dst = stack.enter_context(vm(*DEVICES, machine=machine,
                                     incoming='defer'))
        wanted = {}
        for d in devices(older):
            if least(d) < d['version'] and d.get('needed'):
                version = max(least(d), d['version'] - depth)
                wanted[d['name'], d['instance']] = version
                ask(older, d['name'], version, instance=d['instance'])
        check(len(wanted) >= LEAST[machine], f'only {sorted(wanted)}')
        old = saved(older, directory / 'old')
        new = saved(newest, directory / 'new')
        dst.qmp('migrate-incoming', uri=f'exec:cat {directory}/old')
        wait_migration(dst)
        got = saved(dst, directory / 'got')
    equal(set(old), set(new), 'devices')
    for key, device in old.items():
        version = wanted.get(key, new[key]['version'])
        equal(device['version'], version, f'version of {key}')
        equal(got[key]['version'], new[key]['version'], f'{key} when loaded')
        if key in wanted:
            equal(differences(device['fields'], new[key]['fields']), [],
                  f'{key} at version {version}')
            equal(differences(device['fields'], got[key]['fields']), [],
                  f'{key} loaded at version {version}')


# How many devices of each machine have more than one version
LEAST = {PC: 20, Q35: 17}


# -- who asks

def by_property():
    for args in (['-device', 'e1000,vmstate-version=1'],
                 ['-device', 'e1000', '-global', 'e1000.vmstate-version=1'],
                 ['-device', '{"driver": "e1000", "vmstate-version": 1}']):
        with tempdir() as directory, vm(*args) as src:
            one = named(src, 'e1000')
            equal((one['saved-version'], one['saved-why']), (1, 'property'),
                  'e1000')
            check(one['qom-path'].startswith('/machine/'), one['qom-path'])
            check('version 2, from 1 on, saved at 1 (property), '
                  in src.hmp('info vmstate'), 'info vmstate')
            versions = {name: d['version'] for (name, _), d in
                        saved(src, directory / 'stream').items()}
            equal(versions[one['name']], 1, 'version sent')


def by_property_refused():
    """Above, below, and what can only be loaded."""
    with vm('-device', 'e1000,id=nic') as src:
        for driver, version, words in (
                ('e1000', 3, 'versions 1 to 2, not 3'),
                ('e1000', 0, 'versions 1 to 2, not 0'),
                ('lsi53c895a', 2, 'versions 0 to 1, not 2'),
                ('usb-ehci', 1, 'versions 2 to 2, not 1'),
                ('virtio-net-pci', 1, 'no state that is saved at a version')):
            refused(lambda d=driver, v=version: src.qmp(
                'device_add', driver=d, vmstate_version=v),
                f"a device of type '{driver}'", words)
        refused(lambda: src.qmp('qom-set', path='/machine/peripheral/nic',
                                property='vmstate-version', value=1),
                'after it was realized')
    done = subprocess.run([BUILT, '-S', '-display', 'none', '-machine', PC,
                           '-global', 'hpet.vmstate-version=3'], text=True,
                          capture_output=True, check=False)
    equal(done.returncode, 1, f'exit status ({done.stderr})')
    check("'hpet' can be saved at versions 1 to 2, not 3" in done.stderr,
          done.stderr)


def by_monitor():
    with tempdir() as directory, vm('-device', 'e1000,id=nic') as src:
        one = named(src, 'e1000')
        for name in one['name'], one['qom-path']:
            ask(src, name, 1)
            shown = named(src, 'e1000')
            equal((shown['saved-version'], shown['saved-why']),
                  (1, 'monitor'), name)
            ask(src, name)
            equal(named(src, 'e1000')['saved-why'], 'newest', name)
        equal(src.hmp(f'migrate_set_vmstate_version {one["name"]} 1'), '',
              'HMP')
        equal(named(src, 'e1000')['saved-version'], 1, 'HMP')
        equal(saved(src, directory / 'stream')[one['name'], 0]['version'], 1,
              'version sent')


def by_monitor_refused():
    with vm('-device', 'e1000', '-nic', 'user,model=e1000',
            '-nic', 'user,model=e1000') as src:
        facts = devices(src)
        one = next(d for d in facts if d['name'].endswith('/e1000'))
        for version in 0, 3, 4294967295:
            refused(lambda v=version: ask(src, one['name'], v),
                    'versions 1 to 2, not')
        refused(lambda: ask(src, 'fw_cfg', 1), 'versions 2 to 2, not 1')
        refused(lambda: ask(src, 'ram', 3), 'no state that is saved at')
        refused(lambda: ask(src, 'flux-capacitor', 1), 'there is no device')
        refused(lambda: ask(src, one['name'], 1, instance=7),
                'there is no device')
        twice = [d['name'] for d in facts]
        twice = next((n for n in twice if twice.count(n) > 1), None)
        if twice:
            refused(lambda: ask(src, twice, 1), 'with different instances')
        command = 'migrate-set-vmstate-version'
        refused(lambda: src.qmp(command), 'expected either a device or')
        refused(lambda: src.qmp(command, device='ram', **{'as': PC}),
                'expected either a device or')
        refused(lambda: src.qmp(command, version=1, **{'as': PC}),
                'without an instance and a version')
        equal(devices(src), facts, 'after all that was refused')


def as_machine(src, name):
    src.qmp('migrate-set-vmstate-version', **{'as': name})


def by_machine_type():
    """What the table says, by -M and by 'as'; the device's own wish wins."""
    def lsi(qemu):
        one = named(qemu, 'lsiscsi')
        return one['saved-version'], one['saved-why']

    with vm('-device', 'lsi53c895a', machine='pc-i440fx-2.8') as src:
        equal(lsi(src), (0, 'machine-type'), '2.8')
        as_machine(src, 'pc-i440fx-2.6')
        equal(lsi(src), (0, 'monitor'), '2.6')
        ask(src, named(src, 'lsiscsi')['name'], 1)
        equal(lsi(src), (1, 'monitor'), 'device over machine type')
        ask(src, named(src, 'lsiscsi')['name'])
        as_machine(src, 'pc-i440fx-2.8')
        equal(lsi(src), (0, 'machine-type'), 'taken back')
    with vm('-device', 'lsi53c895a,vmstate-version=1',
            machine='pc-i440fx-2.8') as src:
        equal(lsi(src), (1, 'property'), 'property over machine type')
        as_machine(src, 'pc-i440fx-2.6')
        equal(lsi(src), (0, 'monitor'), 'monitor over property')
    with vm('-device', 'lsi53c895a') as src:
        equal(lsi(src), (1, 'newest'), '7.2')
        for name, words in (('pc-i440fx-9.9', 'there is no machine type'),
                            ('', 'there is no machine type'),
                            ('pc-q35-2.8', 'not of the family'),
                            ('microvm', 'not of the family'),
                            ('none', 'not of the family')):
            refused(lambda n=name: as_machine(src, n), words)
        as_machine(src, 'pc-i440fx-2.6')
        equal(lsi(src), (0, 'monitor'), 'as=2.6')
        as_machine(src, PC)
        equal(lsi(src), (1, 'newest'), 'as its own')
        equal(src.hmp('migrate_set_vmstate_version -a pc-i440fx-2.6'), '',
              'HMP')
        equal(lsi(src), (0, 'monitor'), 'HMP')
    with vm(machine='pc-i440fx-2.8') as src:
        refused(lambda: as_machine(src, 'pc-i440fx-7.2'), 'is newer than')


def every_machine_type():
    """Whatever the table says of a release can be saved: it is there."""
    table = ('lsiscsi', (2, 8), 0), ('rtl8139', (1, 6), 4)
    with vm(machine='none') as src:
        types = [m['name'] for m in src.qmp('query-machines')
                 if m['name'].startswith('pc-i440fx-')]
    args = ('-device lsi53c895a -device ipmi-bmc-sim,id=bmc -device '
            'isa-ipmi-kcs,bmc=bmc -device rtl8139').split()
    for machine in sorted(types)[::4] + ['pc-i440fx-1.6', 'pc-i440fx-2.8']:
        with tempdir() as directory, vm(
                *args, machine=f'{machine},suppress-vmdesc=off') as src:
            src.hmp('migrate_set_parameter stream-version 4')
            wanted = {(d['name'], d['instance']): d['saved-version']
                      for d in devices(src) if d.get('needed')}
            for name, release, version in table:
                old = machines.release(machine) <= release
                one = named(src, name)
                equal(one['saved-version'] == one['version'], not old,
                      f'{machine}: {name}')
                check(not old or one['saved-version'] == version,
                      f'{machine}: {name} at {one["saved-version"]}')
            got = saved(src, directory / 'stream')
        for key, device in got.items():
            equal(device['version'], wanted[key], f'{machine}: {key}')


def goes_with_the_device():
    """What was asked of a device is not asked of the next in its place, and
    stays for all others."""
    with vm('-device', 'e1000,id=one', '-device', 'rtl8139,id=two') as src:
        ask(src, '/machine/peripheral/one', 1)
        ask(src, '/machine/peripheral/two', 4)
        src.qmp('cont')
        src.qmp('qom-get', path='/machine/peripheral/one', property='type')
        src.qmp('device_add', driver='e1000', id='three')
        equal(named(src, 'rtl8139')['saved-version'], 4, 'rtl8139')
        found = {d['saved-version'] for d in devices(src)
                 if d['name'].endswith('/e1000')}
        equal(found, {1, 2}, 'e1000')


def not_while_it_runs():
    with vm('-device', 'e1000') as src, tempdir() as directory, \
         vm('-device', 'e1000', incoming=f'unix:{directory}/socket'):
        src.set_params(max_bandwidth=1)
        start_migration(src, f'unix:{directory}/socket')
        refused(lambda: ask(src, named(src, 'e1000')['name'], 1),
                'while a migration runs')
        refused(lambda: as_machine(src, PC), 'while a migration runs')
        src.qmp('migrate_cancel')
        wait_migration(src, 'cancelled')
        ask(src, named(src, 'e1000')['name'], 1)


# -- what becomes of it

def is_an_upper_bound():
    """A destination gets it, and knows in the hello what it will get."""
    with vm('-device', 'e1000,vmstate-version=1') as src, \
         tempdir() as directory, \
         vm('-device', 'e1000',
            incoming=f'unix:{directory}/socket') as dst:
        migrate(src, f'unix:{directory}/socket')
        wait_migration(dst)
        equal(named(dst, 'e1000')['saved-why'], 'newest', 'destination')


def older_destination(port, words):
    """One that loads version 1 of the card and no more: it gets that, or is
    told, before anything else is sent, what the guest would lose.
    """
    def old(facts):
        for d in facts['devices']:
            if d['name'] == NE2000:
                d.update({'version': 1, 'minimum-version': 0})
                d.pop('minimum-saved-version', None)

    sent = []

    def refuse(p):
        peer.greet(p, old)
        sent.extend(u.name for u in p.hear_end())

    with vm('-device', 'ne2k_isa') as src:
        src.hmp('o /b 0x300 0x21')
        src.hmp(f'o /b 0x30c {port}')
        with peer.Destination(refuse if words else
                              lambda p: peer.accept(p, old)) as dst:
            start_migration(src, dst.uri)
            info = wait_migration(src, 'failed' if words else 'completed')
    if words:
        check(words in info['error-desc'], info['error-desc'])
        equal([name for name in sent if name == 'configuration'], [], 'sent')


def version_3_is_the_same():
    streams = []
    with tempdir() as directory:
        for args in ['-device', 'e1000'], ['-device',
                                           'e1000,vmstate-version=1']:
            streams.append(directory / str(len(streams)))
            with vm(*args, '-rtc', 'base=2020-01-01,clock=vm',
                    machine='pc-i440fx-7.2') as src:
                migrate(src, f'exec:cat > {streams[-1]}')
        one, other = (path.read_bytes() for path in streams)
    check(one == other, 'the streams differ')


def no_part_of_the_machine():
    """It does not travel, and is no difference."""
    with vm('-device', 'e1000,vmstate-version=1',
            '-global', 'rtl8139.vmstate-version=4') as src:
        config = src.qmp('query-machine-config')
    check('vmstate-version' not in str(config), 'it is there')


def size():
    """While it stands still; what it is when nothing changes."""
    with tempdir() as directory, vm(*DEVICES) as src, \
         vm(incoming='defer') as dst:
        check(not any('size' in d for d in devices(dst)), 'destination')
        sizes = {d['name']: d.get('size') for d in devices(src)
                 if d.get('needed') and d['name'] != 'ram'}
        equal({d['name']: d.get('size') for d in devices(src)
               if d['name'] in sizes}, sizes, 'the second time')
        missing = [name for name, size in sizes.items() if not size]
        check(len(missing) < 4, f'without a size: {missing}')
        total = migrate(src, f'file:{directory}/stream')['stream']['bytes']
        check(sum(size or 0 for size in sizes.values()) < total, 'sizes')
        check(sizes['serial'] > 50, sizes['serial'])
    with vm('-device', 'e1000') as src:
        src.qmp('cont')
        check(not any('size' in d for d in devices(src)), 'running')


# -- what would be lost

LOST = {
    # Known before memory is sent
    'at once': ('-device ne2k_isa', ['o /b 0x300 0x21', 'o /b 0x30c 0x04'],
                NE2000, 1, "lose 'rxcr', which is not 0x0c"),
    # The port's FIFO is on, which it says when it is prepared
    'when it is saved': ('-serial null', ['o /b 0x3fa 1'], SERIAL, 2,
                         "lose 'fcr_vmstate'"),
}


def lost(kind):
    devices_of, ports, name, version, words = LOST[kind]
    with tempdir() as directory, vm(*devices_of.split()) as src, \
         vm(*devices_of.split(), incoming=f'unix:{directory}/socket'):
        ask(src, named(src, name)['name'], version)
        said = f'cannot be saved at version {version}', words
        for uri in (f'file:{directory}/file', f'exec:cat > {directory}/pipe',
                    f'unix:{directory}/socket'):
            for port in ports:
                src.hmp(port)
            if kind == 'at once':
                refused(lambda u=uri: src.qmp('migrate', uri=u), *said)
            else:
                refused(lambda u=uri: migrate(src, u), *said)
            src.qmp('cont')
            src.wait_status('running')
            src.qmp('stop')
        # And at the newest it goes
        ask(src, named(src, name)['name'])
        saved(src, directory / 'newest')


def lost_in_a_snapshot():
    with tempdir() as directory:
        image = directory / 'image'
        subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', image, '1M'],
                       check=True)
        with vm('-serial', 'null', '-drive', f'if=none,file={image}') as src:
            src.hmp('o /b 0x3fa 1')
            ask(src, named(src, SERIAL)['name'], 2)
            said = src.hmp('savevm one')
            check("lose 'fcr_vmstate'" in said, said)
            ask(src, named(src, SERIAL)['name'])
            equal(src.hmp('savevm one'), '', 'savevm')


with Tap('versions') as tap:
    for kind in PC, Q35:
        for below in 1, 2, 3, 10000:
            tap.case(f'{kind}: {below} below the newest', every_version, kind,
                     below)
    tap.case('asked for by a property', by_property)
    tap.case('refused of a property', by_property_refused)
    tap.case('asked for by the monitor', by_monitor)
    tap.case('refused of the monitor', by_monitor_refused)
    tap.case('asked for by the machine type', by_machine_type)
    tap.case('every machine type', every_machine_type)
    tap.case('goes with the device', goes_with_the_device)
    tap.case('not while a migration runs', not_while_it_runs)
    tap.case('an upper bound', is_an_upper_bound)
    tap.case('an older destination', older_destination, 0x0c, None)
    tap.case('an older destination, and something would be lost',
             older_destination, 4, "lose 'rxcr', which is not 0x0c")
    tap.case('version 3 is the same', version_3_is_the_same)
    tap.case('no part of the machine', no_part_of_the_machine)
    tap.case('size', size)
    for how in LOST:
        tap.case(f'lost: known {how}', lost, how)
    tap.case('lost: in a snapshot', lost_in_a_snapshot)
