#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of every kind arrives equal to the byte, in the main stream, on
channels, and in a postcopy: of huge pages, shared, in files, in several blocks;
and what the guest has returned, or does not use, is not sent, and takes no
memory at the destination.
"""

import collections
import contextlib
import functools
import os
import pathlib
import threading

from harness.qemu import (BUILT, start_migration, tempdir, wait_for,
                          wait_migration)
from harness.tap import Tap, check, equal
from interop.live import prepare
from interop.pages import HEAD, ENTRY, Pages
from interop.virtio import WINDOWS, Balloon, Bare, Plugged
from interop import wire

MACHINE = 'pc-q35-7.2-v4'
MIB = 1 << 20
PAGE = 4096
MEMORY = 48 * MIB
RANDOM = 4 * MIB
SLACK = 12 * MIB                # what a process takes for other things
MULTIFD = {'multifd': True}
POSTCOPY = {'postcopy-ram': True}
WAYS = {'': {}, ', multifd': MULTIFD, ', postcopy': POSTCOPY,
        ', multifd, postcopy': {**MULTIFD, **POSTCOPY}}
TIMEOUT = 120
HUGE = pathlib.Path('/proc/sys/vm/nr_hugepages')


class Seen(Pages):
    """A link that counts how often each page came, also as zeros."""

    def __init__(self, uri):
        self.pages = collections.Counter()
        super().__init__(uri, lambda *_: False)

    def _damage(self, record, _count):
        at = wire.HEADER.size
        _, kind, _, _, _, count, length = HEAD.unpack_from(record, at)
        at += HEAD.size
        block = bytes(record[at:at + length]).decode()
        for n in range(count if not kind else 0):
            offset, zeros, _ = ENTRY.unpack_from(record,
                                                 at + length + n * ENTRY.size)
            for page in range(max(zeros, 1)):
                self.pages[block, offset + page * PAGE] += 1

    def of(self, block):
        """The offsets of that block's pages; of a device's, too."""
        return {offset for name, offset in self.pages
                if name.rpartition('/')[2] == block}


def resident(vm):
    """Bytes of memory that a process has, shared or not."""
    fields = dict(line.split(':') for line in
                  open(f'/proc/{vm.pid}/status') if ':' in line)
    return sum(int(fields[name].split()[0]) for name in
               ('RssAnon', 'RssShmem')) << 10


class Scene:
    """Both sides, and what the memory was."""

    def __init__(self, directory, caps, options, machine='', share=False):
        self.directory, self.caps = directory, caps
        self.places = {0: MEMORY}       # address and size of what is compared
        sides = []
        for side in ('source', 'destination'):
            own = 'both' if share else side
            args = [arg.format(directory=directory, side=own)
                    for arg in options]
            sides.append(Bare(BUILT, *args, directory=directory, name=side,
                              machine=MACHINE + machine,
                              incoming='defer' if sides else None))
        self.src, self.dst = sides
        prepare(sides, {'return-path': True, **caps})

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.src.__exit__(*details)
        self.dst.__exit__(*details)

    def fill(self, address, size=RANDOM):
        """Memory like no other run's."""
        self.src.write(address, os.urandom(size))

    def memory(self, vm):
        found = {}
        for address, size in self.places.items():
            path = self.directory / 'memory'
            vm.qmp('pmemsave', val=address, size=size, filename=str(path))
            found[address] = path.read_bytes()
        return found

    @contextlib.contextmanager
    def moving(self, bandwidth=1 << 40):
        """While it is under way, before a postcopy if there is one."""
        src, dst = self.src, self.dst
        self.before = self.memory(src)
        src.set_params(max_bandwidth=MIB if self.caps.get('postcopy-ram')
                       else bandwidth)
        dst.qmp('migrate-incoming', uri='tcp:127.0.0.1:0')
        self.taken = resident(dst)
        with Seen(dst.listens_at()) as self.seen:
            start_migration(src, self.seen.uri)
            yield
            if self.caps.get('postcopy-ram'):
                wait_for(lambda: src.qmp('query-migrate')['status'] ==
                         'active', TIMEOUT, lambda: src.says())
                src.qmp('migrate-start-postcopy')
            self.info = wait_migration(src, timeout=TIMEOUT)
            wait_migration(dst, timeout=TIMEOUT)
            self.taken = resident(dst) - self.taken

    def moves(self, sent=None):
        """@sent: as much memory as the destination may take, if it is known.
        """
        with self.moving():
            pass
        equal(self.info['ram']['healed'], 0, 'healed')
        equal('postcopy-bytes' in self.info['ram'] and
              self.info['ram']['postcopy-bytes'] > 0,
              bool(self.caps.get('postcopy-ram')), 'there was a postcopy')
        check(sent is None or self.taken <= sent + SLACK,
              f'the destination takes {self.taken} bytes for {sent}')
        check(self.memory(self.dst) == self.before,
              'the memory of both sides is not the same')


def backend(kind, name='ram', size=MEMORY, more=''):
    return ['-object', f'memory-backend-{kind},id={name},size={size}{more}']


def dimm(kind='ram'):
    return ['-m', f'{MEMORY // MIB}M,slots=2,maxmem=1G',
            *backend(kind, 'dimm', 32 * MIB),
            '-device', 'pc-dimm,id=dimm0,memdev=dimm']


def kind(caps, options, machine='', zeros=True):
    """@zeros: pages of zeros take no memory of the destination's; to look at
    those of a file is to make them."""
    with tempdir() as directory, \
         Scene(directory, caps, options, machine) as scene:
        for at in 8, 24, 44:
            scene.fill(at * MIB)
        scene.moves(3 * RANDOM if zeros else None)


def huge(caps):
    with reserved(2 * MEMORY // (2 * MIB)):
        kind(caps, [*backend('memfd', more=',hugetlb=on,hugetlbsize=2M'),
                    '-m', f'{MEMORY // MIB}M'], ',memory-backend=ram', False)


@contextlib.contextmanager
def reserved(pages):
    """Huge pages, which are given back."""
    before = int(HUGE.read_text())
    try:
        HUGE.write_text(str(before + pages))
        check(int(HUGE.read_text()) >= before + pages, 'not enough memory')
        yield
    finally:
        HUGE.write_text(str(before))


def lacks_huge_pages():
    """Why there are none, or None."""
    try:
        with reserved(2 * MEMORY // (2 * MIB)):
            return None
    except (OSError, AssertionError) as error:
        return f'no huge pages can be reserved: {error}'


def blocks(caps):
    """Nodes, a module, and a device's memory."""
    with tempdir() as directory, Scene(directory, caps, [
            *dimm(), *backend('ram', 'one', 16 * MIB),
            *backend('ram', 'two', 32 * MIB),
            '-numa', 'node,memdev=one', '-numa', 'node,memdev=two',
            *backend('memfd', 'shared', 4 * MIB, ',share=on'), '-device',
            'ivshmem-plain,memdev=shared,master=on,addr=0x11']) as scene:
        where = scene.src.qmp('query-memory-devices')[0]['data']['addr']
        scene.places[where] = 32 * MIB
        window = WINDOWS + (16 << 20)
        for register, value in (0x18, window), (0x1c, 0), (0x04, 2):
            scene.src.config(0x11, register, value)
        scene.places[window] = 4 * MIB
        for at in (2 * MIB, 14 * MIB, 20 * MIB, where, where + 20 * MIB,
                   window):
            scene.fill(at)
        scene.moves(6 * RANDOM)
        check('postcopy-ram' in caps or all(
            scene.seen.of(name) for name in ('one', 'two', 'dimm', 'shared')),
            'not all blocks were sent')


def ignored(caps):
    """Shared memory stays where it is, all else is sent."""
    path = 'share=on,mem-path={directory}/{side}'
    with tempdir() as directory, \
         Scene(directory, {'x-ignore-shared': True, **caps},
               [*dimm(), *backend('file', more=f',{path}')],
               ',memory-backend=ram', share=True) as scene:
        where = scene.src.qmp('query-memory-devices')[0]['data']['addr']
        scene.places[where] = 32 * MIB
        scene.fill(8 * MIB)
        scene.fill(where)
        scene.moves()
        equal(len(scene.seen.of('ram')), 0, 'pages sent that are shared')
        check(scene.seen.of('dimm'), 'nothing else was sent')


BALLOON = ['-m', f'{MEMORY // MIB}M', '-device',
           'virtio-balloon-pci,addr=0x10,disable-legacy=on']
HINTS = [*BALLOON[:-1], BALLOON[-1] + ',free-page-hint=on,iothread=thread',
         '-object', 'iothread,id=thread']


def inflated(caps):
    """What a balloon has taken is zeros, which take no memory."""
    with tempdir() as directory, Scene(directory, caps, BALLOON) as scene:
        balloon = Balloon(scene.src, 0x10)
        scene.fill(8 * MIB, 36 * MIB)
        balloon.inflate(12 * MIB, 28 * MIB)
        scene.moves(8 * MIB)
        check(not any(scene.before[0][12 * MIB:40 * MIB]), 'no balloon')


def hinted(caps):
    """What the guest says to be free while memory is sent is not sent."""
    first, last = 36 * MIB, 44 * MIB
    with tempdir() as directory, Scene(directory, caps, HINTS) as scene:
        balloon = Balloon(scene.src, 0x10)
        scene.fill(4 * MIB, 42 * MIB)
        # A page or two at a time: it does not get there meanwhile
        with scene.moving(bandwidth=1000):
            wait_for(balloon.wanted, TIMEOUT, lambda: scene.src.says())
            balloon.hint(first, last - first)
            scene.src.set_params(max_bandwidth=1 << 40)
        sent = [offset for offset in scene.seen.of('pc.ram')
                if first <= offset < last]
        equal(len(sent), 0, 'pages sent that are free')
        # The rings, below, have gone on since
        before, after = scene.before[0], scene.memory(scene.dst)[0]
        check(before[4 * MIB:first] == after[4 * MIB:first] and
              before[last:] == after[last:], 'the memory is not the same')
        check(not any(after[first:last]), 'free pages have come')


def syncs(vm):
    return vm.qmp('query-migrate').get('ram', {}).get('dirty-sync-count', 0)


class Gate:
    """A pipe into a file that takes no more than it is told to."""

    def __init__(self, directory):
        self.pipe, self.file = directory / 'pipe', directory / 'file'
        os.mkfifo(self.pipe)
        self.passed = self.limit = 0
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._pass, daemon=True)
        self.thread.start()

    def _pass(self):
        with open(self.pipe, 'rb', buffering=0) as pipe, \
             open(self.file, 'wb') as file:
            data = True
            while data:
                with self.changed:
                    self.changed.wait_for(lambda: self.passed < self.limit)
                    room = self.limit - self.passed
                data = pipe.read(min(room, 64 << 10))
                file.write(data)
                with self.changed:
                    self.passed += len(data)
                    self.changed.notify()

    def open(self, limit):
        """Takes all up to there from now on."""
        with self.changed:
            self.limit = limit
            self.changed.notify()

    def takes(self, size):
        """Waits until so many bytes have come, of which there are more."""
        self.open(size)
        with self.changed:
            check(self.changed.wait_for(lambda: self.passed == size, TIMEOUT),
                  f'{self.passed} of {size} bytes have come')


def hinted_one_way():
    """What was sent may have come wrong, and nobody asks for it: what is dirty
    then is sent, though the guest says that it is free."""
    busy, free, size = 8 * MIB, 36 * MIB, 2 * MIB
    with tempdir() as directory, Scene(directory, {}, HINTS) as scene:
        src, dst = scene.src, scene.dst
        balloon = Balloon(src, 0x10)
        scene.fill(busy, 16 * MIB)
        scene.fill(free, 4 * size)
        src.set_caps(return_path=False)
        src.set_params(max_bandwidth=1 << 40, downtime_limit=1)
        gate = Gate(directory)
        start_migration(src, f'exec:cat > {gate.pipe}')
        wait_for(balloon.wanted, TIMEOUT, lambda: src.says())
        before = balloon.wanted()
        # What is free has been sent, and comes behind what is busy the next
        # time: it is still dirty then
        gate.takes(16 * MIB + 2 * size)
        scene.fill(free, size)
        scene.fill(busy, 16 * MIB)
        # The rest of the first pass, and no more than a part of the second
        gate.takes(30 * MIB)
        equal(syncs(src), 2, 'passes')
        # Whoever gives a hint waits for who is at the gate
        src.set_params(max_bandwidth=1000)
        gate.open(1 << 40)
        wait_for(lambda: balloon.wanted() not in (0, before), TIMEOUT,
                 lambda: f'{src.qmp("query-migrate")}; {src.says()}')
        balloon.hint(free, size)
        src.set_params(max_bandwidth=1 << 40, downtime_limit=30000)
        wait_migration(src, timeout=TIMEOUT)
        gate.thread.join(TIMEOUT)
        check(not gate.thread.is_alive(), 'the file has no end')
        dst.qmp('migrate-incoming', uri=f'exec:cat {gate.file}')
        wait_migration(dst, timeout=TIMEOUT)
        equal(syncs(src) > 2, True, 'synchronized once more')
        check(scene.memory(src) == scene.memory(dst),
              'what was dirty is not in the file')


def plugged(caps):
    """Of virtio-mem's, only what is plugged is sent."""
    with tempdir() as directory, Scene(directory, caps, [
            '-m', f'{MEMORY // MIB}M,maxmem=1G', *backend('ram', 'mem',
                                                          256 * MIB),
            '-device', 'virtio-mem-pci,id=vm0,memdev=mem,addr=0x10,'
            'requested-size=64M']) as scene:
        mem = Plugged(scene.src, 0x10)
        blocks = 3, 4, 9, 17
        for block in 3, 4, 9, 10, 17:
            mem.plug(block)
            scene.fill(mem.address + block * mem.block, mem.block)
        mem.unplug(10)
        for block in blocks:
            scene.places[mem.address + block * mem.block] = mem.block
        scene.moves(len(blocks) * mem.block)
        there = {offset // mem.block for offset in scene.seen.of('mem')}
        check(there <= set(blocks) and (there or 'postcopy-ram' in caps),
              f'blocks that were sent: {there}')
        device = scene.dst.qmp('query-memory-devices')[0]['data']
        equal(device['size'], len(blocks) * mem.block, 'plugged')


def released(caps):
    """What has come in a postcopy takes no memory of the source's."""
    with tempdir() as directory, \
         Scene(directory, {**caps, 'release-ram': True},
               ['-m', f'{MEMORY // MIB}M']) as scene:
        scene.fill(4 * MIB, 40 * MIB)
        before = resident(scene.src)
        scene.moves()
        left = before - resident(scene.src)
        check(left > 20 * MIB, f'the source has released {left} bytes')


KINDS = {
    'anonymous memory': functools.partial(
        kind, options=['-m', f'{MEMORY // MIB}M']),
    'memory-backend-memfd': functools.partial(
        kind, options=[*backend('memfd'), '-m', f'{MEMORY // MIB}M'],
        machine=',memory-backend=ram', zeros=False),
    'memory-backend-memfd, share=off': functools.partial(
        kind, options=[*backend('memfd', more=',share=off'),
                       '-m', f'{MEMORY // MIB}M'],
        machine=',memory-backend=ram', zeros=False),
    'huge pages': huge,
    'several blocks': blocks,
    'x-ignore-shared': ignored,
    'virtio-balloon, inflated': inflated,
    'virtio-mem': plugged,
}

with Tap('memory of every kind') as t:
    without = lacks_huge_pages()
    for name, function in KINDS.items():
        for way, with_caps in WAYS.items():
            if function is huge and without:
                t.skip(f'{name}{way}', without)
            elif function is not ignored or 'postcopy-ram' not in with_caps:
                t.case(f'{name}{way}', function, with_caps)
    t.case('virtio-balloon, free-page-hint=on, into a file', hinted_one_way)
    for way in '', ', multifd':
        t.case(f'virtio-balloon, free-page-hint=on{way}', hinted, WAYS[way])
        t.case(f'release-ram, postcopy{way}', released,
               {**POSTCOPY, **WAYS[way]})
