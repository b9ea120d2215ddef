# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings the devices of a stopped machine out of their reset state.

A machine that has just been reset sends few of its subsections.  This does
what firmware and drivers would, through ports and memory, as far as it can be
done without time going by: the virtual clock stands, so the result is the same
each time.
"""

import time

from witness import fwcfg, pci

RED_HAT_VIRTIO = 0x1af4

# What the virtio specification calls things.
CAP_VENDOR = 0x09
COMMON, NOTIFY = 1, 2
(STATUS_DRIVER, STATUS_FEATURES, STATUS_OK, STATUS_BROKEN,
 STATUS_FAILED) = (3, 11, 15, 0x40, 0x80)
# A driver may not pass these on: they turn on what we don't play.
RING_PACKED = 34

# Guest memory: what we fill, the queues, and the DMA buffer.
FILLED = 0x200000
QUEUES = 0x1000000
BUFFER = 0x1f00000
# Where address registers are put.
MEMORY_BARS = 0xe0000000
PORT_BARS = 0xc000


def stir(qtest, qemu):
    _memory(qtest)
    _ports(qtest)
    _firmware(qtest)
    _media(qemu)
    _pci(qtest)


def _memory(qtest):
    # Pages of each kind: whole, in part, one byte; and the display's.
    for page in range(16):
        qtest.write(FILLED + page * 4096, bytes([page + 1]) * 4096)
    qtest.write(FILLED + 0x20000 + 100, b'neither all of it nor nothing')
    qtest.write(FILLED + 0x31fff, b'\1')
    qtest.write(0xa0000, b'display')


def _ports(qtest):
    for port, *values in [
            # Keyboard: LEDs, an answer that waits, the output port.
            (0x60, 0xed), (0x60, 0x02), (0x64, 0xd1), (0x60, 0x01),
            (0x60, 0xf2),
            # COM1: divisor, FIFOs on, loop mode, and bytes that wait.
            (0x3fb, 0x83), (0x3f8, 0x06), (0x3f9, 0x00), (0x3fb, 0x03),
            (0x3f9, 0x0f), (0x3fa, 0x01), (0x3fc, 0x1b),
            (0x3f8, 0x41, 0x42, 0x43),
            # IDE: both disks of the first bus asked who they are.
            (0x1f6, 0xa0), (0x1f7, 0xec),
            (0x176, 0xa0), (0x177, 0xa1),
            # Floppy: reset, then perpendicular mode.
            (0x3f2, 0x00), (0x3f2, 0x0c), (0x3f5, 0x12, 0x84),
            # Reset control, without the reset.
            (0xcf9, 0x02),
            # CPU hotplug in its later form (i440fx, q35).
            (0xaf00, 0x00), (0x0cd8, 0x00),
            # Interrupt controllers, timer, DMA, NVRAM, APM, VGA, printer.
            (0x20, 0x11), (0x21, 0x08, 0x04, 0x01, 0xfa),
            (0xa0, 0x11), (0xa1, 0x70, 0x02, 0x01, 0xff),
            (0x43, 0x34), (0x40, 0x34, 0x12), (0x43, 0xb6),
            (0x42, 0x78, 0x05), (0x61, 0x01),
            (0x0b, 0x45), (0x0a, 0x01), (0x70, 0x3e), (0x71, 0x5a),
            (0xb3, 0x17),
            (0x3c4, 0x02), (0x3c5, 0x0f), (0x3ce, 0x06), (0x3cf, 0x05),
            (0x3c8, 0x10), (0x3c9, 0x3f, 0x20, 0x11),
            (0x378, 0x55), (0x37a, 0x0c)]:
        for value in values:
            qtest.outb(port, value)
    # I/O APIC: an entry; HPET: on, with legacy routing and a comparator.
    for register, value in [(0x12, 0x10031), (0x13, 0x01000000)]:
        qtest.writel(0xfec00000, register)
        qtest.writel(0xfec00010, value)
    qtest.writel(0xfed00100, 0x0c)
    qtest.writel(0xfed00108, 0x12345678)
    qtest.writel(0xfed00010, 0x03)


def _firmware(qtest):
    """Agrees to the SMI features that a q35 machine offers."""
    fwcfg.FwCfg(qtest, BUFFER).choose_smi_features()


def _media(qemu):
    """Opens the trays and drawers of what has a medium to take out."""
    for drive in qemu.qmp('query-block'):
        if drive['removable'] and drive.get('inserted'):
            where = ({'id': drive['qdev']} if drive.get('qdev')
                     else {'device': drive['device']})
            qemu.qmp('blockdev-open-tray', force=True, **where)


def _pci(qtest):
    memory = MEMORY_BARS
    ports = PORT_BARS
    for number, function in enumerate(list(pci.functions(qtest))):
        function.writel(0x3c, function.readl(0x3c) & ~0xff | 5 + number % 7)
        vendor, device = function.ident
        if function.is_bridge:
            continue
        if vendor == RED_HAT_VIRTIO and 0x1000 <= device < 0x1080:
            _virtio(qtest, function, number, memory, ports)
            memory += 1 << 16
            ports += 1 << 8
        else:
            # Decoding stays off: their registers are at no address.
            function.writew(pci.COMMAND, 4)


def _virtio(qtest, function, number, memory, ports):
    """Negotiates everything and starts queue 0, as a driver does."""
    areas = {}
    for offset, kind in function.capabilities():
        if kind == CAP_VENDOR:
            areas[function.byte(offset + 3)] = (
                function.byte(offset + 4), function.readl(offset + 8))
    queue = QUEUES + number * 0x8000
    if COMMON in areas:
        _modern(qtest, function, areas, memory, queue)
    else:
        _legacy(qtest, function, ports, queue)


def _modern(qtest, function, areas, memory, queue):
    bar, offset = areas[COMMON]
    function.writel(pci.BAR0 + 4 * bar, memory)
    function.writel(pci.BAR0 + 4 * bar + 4, 0)
    function.writew(pci.COMMAND, 6)
    common = memory + offset
    qtest.writeb(common + 0x14, STATUS_DRIVER)
    for half in (0, 1):
        qtest.writel(common, half)
        features = qtest.readl(common + 4)
        if half:
            features &= ~(1 << RING_PACKED - 32)
        qtest.writel(common + 8, half)
        qtest.writel(common + 12, features)
    qtest.writeb(common + 0x14, STATUS_FEATURES)
    if qtest.readb(common + 0x14) != STATUS_FEATURES:
        # Some don't take all that they offer, on old machine types.
        qtest.writeb(common + 0x14, STATUS_FAILED)
        return
    qtest.writew(common + 0x16, 0)
    qtest.writew(common + 0x18, 16)
    for register, at in [(0x20, 0), (0x28, 0x1000), (0x30, 0x2000)]:
        qtest.writel(common + register, queue + at)
        qtest.writel(common + register + 4, 0)
    qtest.writew(common + 0x1c, 1)
    qtest.writeb(common + 0x14, STATUS_OK)
    if function.ident[1] == 0x1005 or function.ident[1] == 0x1044:
        _break(qtest, common, memory + areas[NOTIFY][1], queue)


def _break(qtest, common, notify, queue):
    """A driver's mistake: more in the ring than it has places."""
    qtest.write(queue + 0x1002, (0x7000).to_bytes(2, 'little'))
    qtest.writew(notify, 0)
    # It is noticed in the main loop, a moment later.
    deadline = time.monotonic() + 10
    while not qtest.readb(common + 0x14) & STATUS_BROKEN:
        if time.monotonic() > deadline:
            raise AssertionError('a broken virtio queue was not noticed')


def _legacy(qtest, function, ports, queue):
    function.writel(pci.BAR0, ports)
    function.writew(pci.COMMAND, 5)
    qtest.outb(ports + 18, STATUS_DRIVER)
    qtest.outl(ports + 4, qtest.inl(ports))
    qtest.outw(ports + 14, 0)
    qtest.outl(ports + 8, queue >> 12)
    # What a legacy driver says when it is ready: no features to confirm.
    qtest.outb(ports + 18, 7)
