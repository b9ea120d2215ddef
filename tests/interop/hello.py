#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the two sides agree on: real ones, made-up ones that have what this
QEMU has, and made-up ones of the future, which have more and newer things.
"""

import contextlib

from harness.qemu import (BUILT, Qemu, migrate, start_migration, tempdir,
                          wait_for, wait_migration)
from harness.tap import Tap, check, equal
from interop import peer, talk, wire

MACHINES = Q35, I440FX = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
MEMORY = peer.MEMORY
# The one whose state is played with: its section has a description.
DEVICE = 'timer'
UNKNOWN = 0x7f03


# -- what a side of the future says

def device(facts, name=DEVICE):
    return next(d for d in facts['devices'] if d['name'] == name)


def unknown_keys(facts):
    facts['forecast'] = {'tomorrow': ['sun', {'wind': None}]}
    facts['qemu'].update(of='the future', version='12.0.0')
    for one in facts['devices'] + facts['features']:
        one['mood'] = 0.5


def more_versions(facts):
    facts['stream-versions'] = [4, 5, 9]


def optional_feature(facts):
    facts['features'].append({'name': 'telepathy'})


def optional_device(facts):
    facts['devices'].append({'name': 'flux-capacitor', 'instance': 7,
                             'version': 3, 'optional': True, 'needed': True})


def optional_subsection(facts):
    device(facts).setdefault('subsections', []).append(
        {'name': f'{DEVICE}/mood', 'version': 2, 'optional': True,
         'needed': True})


def newer_device(facts):
    one = device(facts)
    one.setdefault('minimum-version', one['version'])
    one['version'] += 4


FUTURE = {
    'keys that nobody knows': unknown_keys,
    'versions 5 and 9 of the stream as well': more_versions,
    'an optional feature that nobody knows': optional_feature,
    'an optional device that nobody knows': optional_device,
    'an optional subsection that nobody knows': optional_subsection,
    'a newer version of a device': newer_device,
}


def all_of_it(facts):
    for change in FUTURE.values():
        change(facts)


# -- and what cannot be: a change, and what has to be said

def other_versions(facts):
    facts['stream-versions'] = [5, 9]


def required_feature(facts):
    facts['features'].append({'name': 'telepathy', 'required': True})


def too_new_device(facts):
    one = device(facts)
    one['version'] += 4
    one['minimum-version'] = one['version']


def required_device(facts):
    facts['devices'].append({'name': 'flux-capacitor', 'instance': 7,
                             'version': 3, 'needed': True, 'expected': True})


def required_subsection(facts):
    device(facts).setdefault('subsections', []).append(
        {'name': f'{DEVICE}/mood', 'version': 2, 'needed': True})


def no_device(facts):
    facts['devices'].remove(device(facts))


IMPOSSIBLE = {
    'no version of the stream in common': (other_versions, ['5', '9', '4']),
    'a required feature that nobody knows': (required_feature, ['telepathy']),
    'a device that is too new': (too_new_device, [DEVICE]),
    'a required device that nobody knows': (required_device,
                                            ['flux-capacitor', '7']),
}
ONLY_SOURCE = {
    'a required subsection that nobody knows': (required_subsection,
                                                [f'{DEVICE}/mood']),
}
ONLY_DESTINATION = {
    'a device that is not there': (no_device, [DEVICE]),
}


# -- the sides

def source(machine):
    return Qemu(BUILT, '-m', MEMORY, machine=machine)


def destination(machine, *args):
    return Qemu(BUILT, '-m', MEMORY, *args, machine=machine, incoming='defer')


def knows(vm, features):
    """What a side shows of the other one."""
    shown = vm.qmp('query-migrate')['peer']
    check(set(features) <= set(shown['features']), shown)
    equal(shown['stream-version'], 4, 'version of the stream')
    equal(shown['hand-over'], 'done', 'hand-over')
    text = vm.hmp('info migrate')
    check('hand-over' in text and shown['machine'] in text, text)
    return shown


def both_real(machine):
    with source(machine) as src, destination(machine) as dst:
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        migrate(src, dst.listens_at())
        dst.wait_status('running')
        equal(src.status(), 'postmigrate', 'status of the source')
        for vm in src, dst:
            equal(knows(vm, ['hand-over'])['machine'], machine, 'machine type')


def paused(machine):
    """A guest that was paused is handed over as well, and not started."""
    with source(machine) as src, destination(machine) as dst:
        src.qmp('stop')
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        migrate(src, dst.listens_at())
        dst.wait_status('paused')
        knows(dst, ['hand-over'])
        dst.qmp('cont')
        dst.wait_status('running')


def to_made_up(src, change):
    """The destination is made up; the guest seems to have gone there."""
    with peer.Destination(lambda p: peer.accept(p, change)) as dst:
        migrate(src, dst.uri)
        knows(src, ['hand-over'])
    src.qmp('cont')


def refused_by_source(src, change, words):
    def behave(p):
        peer.greet(p, change)
        equal([u.name for u in p.hear_end() if u.name == 'configuration'], [],
              'what came behind the hello')

    with peer.Destination(behave) as dst:
        start_migration(src, dst.uri)
        info = wait_migration(src, 'failed')
        for word in words:
            check(word in info['error-desc'], info['error-desc'])
        equal(src.status(), 'running', 'status of the source')


def from_made_up(made_up, change):
    """The source is made up, and something optional is in its stream."""
    with destination(made_up.machine) as dst:
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        src = made_up.source(change)
        src.stream.behind(src.stream.of_type(wire.CONFIGURATION),
                          wire.Record(UNKNOWN, wire.LAST | wire.OPTIONAL, 0,
                                      b'something optional'))
        with peer.connect(dst.listens_at()) as p:
            src.hand_over(p)
        wait_for(lambda: dst.status() in ('prelaunch', 'paused'), 30,
                 lambda: f'{dst.status()}; {dst.says()}')
        knows(dst, ['hand-over'])


def refused_by_destination(dst, src, words):
    dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
    with peer.connect(dst.listens_at()) as p:
        src.greet(p)
        word = p.hear_word()
        equal((word.message, word.detail, word.token),
              (talk.REFUSED, talk.HELLO, p.token), str(word))
        for text in words:
            check(text in word.text, word.text)
    info = wait_migration(dst, 'failed')
    for text in words:
        check(text in info['error-desc'], info['error-desc'])


def main(t):
    for machine in MACHINES:
        t.case(f'{machine}: both say what they are', both_real, machine)
    t.case('a guest that is paused', paused, Q35)
    with tempdir() as directory, contextlib.ExitStack() as exits:
        src = exits.enter_context(source(Q35))
        t.case('to a made-up destination', to_made_up, src, None)
        for name, change in FUTURE.items():
            t.case(f'to a destination with {name}', to_made_up, src, change)
        t.case('to a destination with all of that', to_made_up, src,
               all_of_it)
        for name, how in (IMPOSSIBLE | ONLY_DESTINATION).items():
            t.case(f'to a destination with {name}', refused_by_source, src,
                   *how)

        made_up = peer.MadeUp(Q35, directory)
        t.case('from a made-up source', from_made_up, made_up, None)
        for name, change in FUTURE.items():
            t.case(f'from a source with {name}', from_made_up, made_up, change)
        t.case('from a source with all of that', from_made_up, made_up,
               all_of_it)
        dst = exits.enter_context(destination(Q35))
        for name, (change, words) in (IMPOSSIBLE | ONLY_SOURCE).items():
            t.case(f'from a source with {name}', refused_by_destination, dst,
                   made_up.source(change), words)


with Tap('what the two sides agree on') as tap:
    main(tap)
