#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a QEMU says of itself before a guest moves: it is what is sent, it is
the same at any time, and nothing changes by it.
"""

import json
import re

from harness.qemu import BUILT, Qemu, migrate, tempdir, wait_migration
from harness.tap import Tap, check, equal
from tool.run import dump, run
from witness import machines

MACHINES = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'

# Of two sections with one name, none is dumped: these are the second ones
TWICE = re.compile('bmc[12]|id=net1')


# In what is said of combinations
NAMES = re.compile(r"'([^']+)'|([^][|' ]+)")


def vm(machine, devices, **options):
    words = machines.arguments(machine, devices)
    args = [word for i, word in enumerate(words)
            if not any(map(TWICE.search, words[i:i + 2]
                           if word.startswith('-') else [word]))]
    return Qemu(BUILT, *args,
                machine=machines.machine_option(machine, devices), **options)


def key(device):
    return device['name'], device['instance']


def known(state):
    """What a state knows, without what is needed now, and how large it is."""
    return {name: [known(sub) for sub in value] if isinstance(value, list)
            else value for name, value in state.items()
            if name not in ('needed', 'size')}


def needed(state):
    """The names of the subsections that would be sent, at any depth."""
    found = set()
    for sub in state.get('subsections', ()):
        if sub.get('needed'):
            found |= {sub['name']} | needed(sub)
        else:
            equal(needed(sub), set(), f'needed in {sub["name"]}, which is not')
    return found


def sent(fields):
    """The names of the subsections in a device's dump, at any depth."""
    found = set()
    if isinstance(fields, dict):
        found |= set(fields.get('subsections', ()))
        fields = list(fields.values())
    if isinstance(fields, list):
        for value in fields:
            found |= sent(value)
    return found


def is_what_is_sent(machine, devices):
    """Sections, versions and subsections are those of the stream."""
    with tempdir() as directory, vm(machine, devices) as src:
        facts = src.qmp('query-vmstate')
        stream = directory / 'stream'
        migrate(src, f'exec:cat > {stream}')
        said = dump(stream)['devices']
    states = [d for d in facts['devices'] if d.get('needed') and
              d['name'] != 'ram']
    equal([key(d) for d in states], [key(d) for d in said], 'devices')
    for state, device in zip(states, said):
        equal(state['version'], device['version'], f'version of {key(state)}')
        # What is in a device's own hands is part of it without a name
        hidden = {name for name in sent(device['fields'])
                  if not named(state, name)}
        check(all(name.startswith('virtio_pci/') for name in hidden),
              f'{key(state)} does not name {hidden}')
        equal(sent(device['fields']) - hidden, needed(state),
              f'subsections of {key(state)}')


def named(state, name):
    return any(sub['name'] == name or named(sub, name)
               for sub in state.get('subsections', ()))


def says_what_goes_together(machine, devices):
    """Every subsection is in a combination; so is what is needed of it."""
    with vm(machine, devices) as src:
        facts = src.qmp('query-vmstate')
    check(says_all(facts['devices']) > 10, 'hardly any structure')


def says_all(states):
    """How many structures say what goes together, in these states."""
    count = 0
    for state in states:
        said = state.get('combinations', ())
        count += len(said)
        subs = state.get('subsections', ())
        names = NAMES.findall(' '.join(c['combinations'] for c in said))
        equal(sorted({''.join(name) for name in names}),
              sorted(sub['name'] for sub in subs),
              f'subsections that {state["name"]} says something of')
        for c in said:
            for name in NAMES.findall(c.get('needed', '')):
                check(any(sub['name'] == ''.join(name) and sub.get('needed')
                          for sub in subs), f'{name} is not needed')
        count += says_all(subs)
    return count


def same_at_any_time(machine, devices):
    """Stopped, awaiting a guest, running, and having got one."""
    with tempdir() as directory, vm(machine, devices) as src, \
         vm(machine, devices, incoming='defer') as dst:
        stopped = src.qmp('query-vmstate')
        waiting = dst.qmp('query-vmstate')
        dst.qmp('migrate-incoming', uri=f'unix:{directory}/socket')
        awaiting = dst.qmp('query-vmstate')
        src.qmp('cont')
        src.wait_status('running')
        running = src.qmp('query-vmstate')
        migrate(src, f'unix:{directory}/socket')
        sent_off = src.qmp('query-vmstate')
        wait_migration(dst)
        got = dst.qmp('query-vmstate')
    for when, facts in (('waiting', waiting), ('awaiting', awaiting),
                        ('running', running), ('sent off', sent_off),
                        ('got', got)):
        equal([known(d) for d in facts['devices']],
              [known(d) for d in stopped['devices']], f'{when}: devices')
        equal({**facts, 'devices': 0}, {**stopped, 'devices': 0}, when)
    check(not any(d.get('needed') or needed(d) for d in waiting['devices']),
          'something is needed of a machine that has no guest yet')
    for facts in running, sent_off, got:
        check(len([d for d in facts['devices'] if d.get('needed')]) > 20,
              'hardly anything is needed')


def changes_nothing(machine, devices):
    """The stream of a machine that was asked is that of one that was not."""
    with tempdir() as directory:
        streams = []
        for times in 0, 10:
            with vm(machine, devices) as src:
                for _ in range(times):
                    src.qmp('query-vmstate')
                    src.hmp('info vmstate')
                streams.append(directory / str(times))
                migrate(src, f'exec:cat > {streams[-1]}')
        first, second = (path.read_bytes() for path in streams)
    check(first == second, 'the streams differ')


def preconfig(machine):
    """Before there are devices, and once there are."""
    with Qemu(BUILT, '-S', '--preconfig', machine=machine) as src:
        early = src.qmp('query-vmstate')
        src.qmp('x-exit-preconfig')
        late = src.qmp('query-vmstate')
    equal(early['machine'], machine, 'machine')
    check(len(early['devices']) < len(late['devices']), 'devices')


def for_people(machine):
    """HMP has every device and every subsection of QMP."""
    with vm(machine, 'virtio') as src:
        facts = src.qmp('query-vmstate')
        said = src.hmp('info vmstate')
    equal(re.findall(r'^(\S.*) \(instance (\d+)\): ', said, re.M),
          [(d['name'], str(d['instance'])) for d in facts['devices']],
          'devices')
    equal(len(re.findall(r'^ +\S.*: version', said, re.M)),
          json.dumps(facts['devices']).count('"name"') -
          len(facts['devices']), 'subsections')
    check('\n    of ps2kbd go together: [ps2kbd/ledstate] ' in said, said)
    check(f'machine: {machine}, to the guest {machine[:-3]}\n' in said, said)
    check('\nstream versions: 4\nfeatures: hand-over\n' in said, said)
    check(re.search(r'^i8254 .*: version 3, from 2 on, \d+ bytes, /machine/',
                    said, re.M), said)


def features():
    def names(**caps):
        src.set_caps(**caps)
        return {f['name']: f.get('required', False)
                for f in src.qmp('query-vmstate')['features']}

    with Qemu(BUILT, '-S', machine=MACHINES[0]) as src:
        equal(names(), {'hand-over': False}, 'bare')
        equal(names(multifd=True), {'hand-over': False, 'multifd': True},
              'multifd')
        equal(names(multifd=False, postcopy_ram=True),
              {'hand-over': False, 'postcopy-ram': True}, 'postcopy')
        equal(names(postcopy_ram=False, x_colo=True), {'x-colo': True}, 'COLO')
    # A destination does without what only a source decides
    with Qemu(BUILT, machine=MACHINES[0], incoming='defer') as src:
        equal(names(postcopy_ram=True, multifd=True),
              {'hand-over': False, 'multifd': True, 'postcopy-ram': False},
              'destination')


def every_machine_type():
    """None of them has a device that cannot be asked."""
    with Qemu(BUILT, '-S', machine='none') as src:
        names = [m['name'] for m in src.qmp('query-machines')
                 if not m['name'].startswith('x')]
    check(len(names) > 50, names)
    with tempdir() as directory:
        for name in names:
            with Qemu(BUILT, machine=name, defaults=True) as src:
                facts = src.qmp('query-vmstate')
            equal(facts['machine'], name, 'machine')
            path = directory / 'facts'
            path.write_text(json.dumps(facts))
            said = run('compat', path, path).good().out
            check('refused' not in said and 'note' not in said, said)


def cannot_migrate(device, args):
    """What has no state that could be sent is listed like the others."""
    with Qemu(BUILT, '-S', *args, machine=MACHINES[0]) as src:
        names = [d['name'] for d in src.qmp('query-vmstate')['devices']]
    check(any(device in name for name in names), f'{device}: {names}')


def the_types_fit():
    """The new machine types are to the guest what those of old are."""
    with tempdir() as directory:
        for name in MACHINES:
            paths = []
            for machine in name, name[:-3]:
                paths.append(directory / machine)
                with Qemu(BUILT, '-S', machine=machine) as src:
                    paths[-1].write_text(json.dumps(
                        src.qmp('query-vmstate')))
            run('compat', *paths).good()
            run('compat', *reversed(paths)).good()


with Tap('query-vmstate') as tap:
    for kind in MACHINES:
        for plugged in machines.SETS:
            tap.case(f'{kind}, {plugged}: is what is sent', is_what_is_sent,
                     kind, plugged)
            tap.case(f'{kind}, {plugged}: what goes together',
                     says_what_goes_together, kind, plugged)
        tap.case(f'{kind}: the same at any time', same_at_any_time, kind,
                 'virtio')
        tap.case(f'{kind}: nothing is changed by it', changes_nothing, kind,
                 'slow')
        tap.case(f'{kind}: before there are devices', preconfig, kind)
        tap.case(f'{kind}: info vmstate', for_people, kind)
    tap.case('features', features)
    tap.case('every machine type', every_machine_type)
    tap.case('nvme, which cannot migrate', cannot_migrate, 'nvme', [
        '-blockdev', 'null-co,node-name=n', '-device',
        'nvme,drive=n,serial=1'])
    tap.case('usb-net, which cannot migrate', cannot_migrate, 'usb-net', [
        '-device', 'piix3-usb-uhci', '-device', 'usb-net'])
    tap.case('types that are the same to the guest', the_types_fit)
