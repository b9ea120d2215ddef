#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Dirty bitmaps in version 4: sent before the guest runs at the destination,
and while it does.
"""

from harness.qemu import BUILT, migrate, start_migration, wait_migration
from harness.tap import Tap, check, equal
from interop.live import linux_pair

Q35, I440FX = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
BITMAPS = {'dirty-bitmaps': True, 'events': True}
NODE = 'disk'
# A bitmap that takes longer than the guest may stand still: 16 MiB of it.
BIG = f'null-co,node-name=big,size={64 << 30}'
PARAMS = {'max-bandwidth': 200 << 20, 'downtime-limit': 20}


def add(vm, name, **options):
    vm.qmp('block-dirty-bitmap-add', node=NODE, name=name, **options)


def bitmaps(vm):
    """What is known of the bitmaps, by name."""
    node = next(n for n in vm.qmp('query-named-block-nodes')
                if n['node-name'] == NODE)
    return {b['name']: b for b in node.get('dirty-bitmaps', [])}


def content(vm, name):
    return vm.qmp('x-debug-block-dirty-bitmap-sha256', node=NODE,
                  name=name)['sha256']


def arrives(machine, caps, postcopy=False):
    """A bitmap at rest comes to the bit, one at work goes on."""
    with linux_pair(BUILT, BUILT, machine, caps={**BITMAPS, **caps},
                    params=PARAMS, src_args=('-blockdev', BIG),
                    dst_args=('-blockdev', BIG)) as (src, dst, uri):
        add(src, 'rest', granularity=512)
        add(src, 'work', granularity=65536)
        add(src, 'empty', disabled=True)
        if postcopy:
            src.qmp('block-dirty-bitmap-add', node='big', name='big',
                    granularity=512)
        src.console.wait_generations(1)
        src.qmp('block-dirty-bitmap-disable', node=NODE, name='rest')
        wanted = {name: content(src, name) for name in ('rest', 'empty')}
        check(wanted['rest'] != wanted['empty'], 'the guest wrote nothing')

        if postcopy:
            start_migration(src, uri)
            src.qmp('migrate-start-postcopy')
            info = wait_migration(src)
        else:
            info = migrate(src, uri)
        wait_migration(dst)
        seen = [event['data'] for event in src.events()
                if event['event'] == 'MIGRATION']
        equal({'status': 'postcopy-active'} in seen, postcopy,
              f'is a postcopy ({seen})')
        equal(dst.qmp('query-migrate')['stream'], info['stream'],
              'figures of the destination')

        equal(set(bitmaps(dst)), {'rest', 'work', 'empty'}, 'bitmaps')
        for name, sha in wanted.items():
            equal(content(dst, name), sha, f'content of {name}')
        at_first = bitmaps(dst)['work']
        check(at_first['recording'], f'{at_first} is not at work')
        check(at_first['count'] > 0, f'{at_first} lost its bits')
        dst.console.wait_generations(2)
        check(dst.status() == 'running', dst.status())


with Tap('dirty bitmaps in version 4') as t:
    t.case(f'{Q35}, before the guest runs', arrives, Q35, {})
    t.case(f'{Q35}, while it runs', arrives, Q35, {}, True)
    t.case(f'{I440FX}, while it runs, its RAM as well', arrives, I440FX,
           {'postcopy-ram': True}, True)
    t.case(f'{Q35}, while it runs, its RAM as well, preempt', arrives, Q35,
           {'postcopy-ram': True, 'postcopy-preempt': True}, True)
