#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Displays on the ISA bus in version 3: what the distribution's QEMU saves of
them is described wrongly, and lies beside what it should be.  It is what it is.

What is sent is compared byte for byte, but for fields that have parts of
pointers, of which no two streams of the distribution's have the same.  Then it
is loaded, and the registers are read.
"""

import os

from harness.qemu import BUILT, STOCK, Qemu, tempdir, wait_migration
from harness.tap import Tap, check, equal
from witness import byte_identity, machines, stream3
from witness.qtest import Qtest

MACHINE = 'pc-i440fx-7.2'
PLAIN, CIRRUS = 'isa-vga', 'isa-cirrus-vga'
POINTERS = {
    PLAIN: ('vbe_start_addr', 'vbe_line_offset', 'vbe_bank_mask'),
    CIRRUS: (),
}
SEQUENCER, GRAPHICS, CRTC = 0x3c4, 0x3ce, 0x3d4
MISC_WRITE, MISC_READ, STATUS = 0x3c2, 0x3cc, 0x3da
ATTRIBUTE, ATTRIBUTE_READ = 0x3c0, 0x3c1
COLOR_READ, COLOR_WRITE, COLOR = 0x3c7, 0x3c8, 0x3c9
# What the display's memory looks like: planes all, and by turns or in a chain
PLANES, BY_TURNS, CHAIN_4 = (2, 0x0f), (4, 0x06), (4, 0x0e)


def stir(qtest, memory):
    """Sets a mode, of which it does not matter what it shows."""
    def indexed(port, *values):
        for index, value in values:
            qtest.outb(port, index)
            qtest.outb(port + 1, value)

    qtest.outb(MISC_WRITE, 0x67)
    indexed(GRAPHICS, (6, 5), (5, 0x40))
    indexed(CRTC, (0x11, 0), (0, 0x5f), (1, 0x4f), (0x0e, 0x12), (0x0f, 0x34))
    qtest.inb(STATUS)
    for value in 0x10, 0x41, 1, 0x3f, 0x20:
        qtest.outb(ATTRIBUTE, value)
    qtest.outb(COLOR_WRITE, 0)
    for value in range(768):
        qtest.outb(COLOR, 7 * value & 0x3f)
    indexed(SEQUENCER, (1, 1), PLANES, memory)


def view(qtest):
    """{register: value} of what the guest reads."""
    def indexed(port, count):
        values = []
        for index in range(count):
            qtest.outb(port, index)
            values.append(qtest.inb(port + 1))
        return values

    seen = {'misc': qtest.inb(MISC_READ)}
    for name, port, count in (('sequencer', SEQUENCER, 8),
                              ('graphics', GRAPHICS, 9), ('crtc', CRTC, 25)):
        seen[f'{name} index'] = qtest.inb(port)
        seen[name] = indexed(port, count)
    seen['attribute'] = []
    for index in range(21):
        qtest.inb(STATUS)
        qtest.outb(ATTRIBUTE, index)
        seen['attribute'].append(qtest.inb(ATTRIBUTE_READ))
    qtest.outb(COLOR_READ, 0)
    seen['palette'] = [qtest.inb(COLOR) for _ in range(768)]
    return seen


def display(binary, kind, qtest, **how):
    return Qemu(binary, *machines.FIXED, '-m', '32M', '-vga', 'none',
                '-device', kind, *qtest.args(), machine=MACHINE,
                pass_fds=[qtest.theirs.fileno()], **how)


def saved(work, binary, kind, memory):
    """(stream, what the guest saw when it was saved)"""
    path = work / 'stream'
    with Qtest() as qtest, display(binary, kind, qtest) as vm:
        qtest.started()
        if memory:
            stir(qtest, memory)
        vm.qmp('migrate', uri=f'exec:cat >{path}')
        wait_migration(vm)
        return path.read_bytes(), view(qtest)


def loaded(work, binary, kind, stream):
    """What the guest sees where the stream was loaded."""
    path = work / 'stream'
    path.write_bytes(stream)
    with Qtest() as qtest, display(binary, kind, qtest,
                                   incoming='defer') as vm:
        qtest.started()
        vm.qmp('migrate-incoming', uri=f'exec:cat {path}')
        wait_migration(vm)
        seen = view(qtest)
        # The memory's map is made anew, of what it was before
        stir(qtest, CHAIN_4)
        qtest.write(0xa0000, b'display')
        equal(qtest.read(0xa0000, 7), b'display', 'what the display holds')
        stir(qtest, BY_TURNS)
        return seen


def without_pointers(data, kind):
    """The stream with zeros where a part of a pointer is."""
    data = stream3.unsliced(data)
    places = stream3.places(data, stream3.description(data))
    data = bytearray(data)
    for place in places:
        if any(f', {field} ' in place.name for field in POINTERS[kind]):
            data[place.start:place.end] = bytes(place.end - place.start)
    return bytes(data)


def same_bytes(work, kind, memory):
    one, other = (without_pointers(saved(work, binary, kind, memory)[0], kind)
                  for binary in (STOCK, BUILT))
    check(one == other, stream3.tell_difference(
        one, other, stream3.description(one), byte_identity.NAMES))


def same_registers(work, memory):
    """From ours, and to ours, comes what comes between two of theirs."""
    kind = PLAIN
    streams = {binary: saved(work, binary, kind, memory)
               for binary in (STOCK, BUILT)}
    equal(streams[BUILT][1], streams[STOCK][1], 'before')
    expected = loaded(work, STOCK, kind, streams[STOCK][0])
    equal(expected['crtc'], streams[STOCK][1]['crtc'], 'some of it comes')
    for source, target in (BUILT, STOCK), (STOCK, BUILT), (BUILT, BUILT):
        equal(loaded(work, target, kind, streams[source][0]), expected,
              f'{source} to {target}')


def pointers_do_no_harm(work, kind):
    """A chain maps memory, and what is sent of it is a pointer.  (The
    distribution's QEMU may not survive that.)"""
    for binary in STOCK, BUILT:
        stream, before = saved(work, binary, kind, CHAIN_4)
        after = loaded(work, BUILT, kind, stream)
        for register in 'misc', 'crtc', 'attribute':
            equal(after[register], before[register], f'{register} of {binary}')


def main():
    os.environ.update(byte_identity.FILL_HEAP)
    with tempdir() as work, Tap('displays on ISA in version 3') as t:
        for kind in PLAIN, CIRRUS:
            for name, memory in ('after a reset', None), ('in use', BY_TURNS):
                t.case(f'{kind} {name}: the same bytes', same_bytes, work,
                       kind, memory)
        for name, memory in ('after a reset', None), ('in use', BY_TURNS):
            t.case(f'{PLAIN} {name}: the same registers', same_registers,
                   work, memory)
        for kind in PLAIN, CIRRUS:
            t.case(f'{kind}: pointers do no harm', pointers_do_no_harm, work,
                   kind)


if __name__ == '__main__':
    main()
