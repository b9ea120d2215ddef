# SPDX-License-Identifier: GPL-2.0-or-later
"""Queues of a virtio device on PCI: features agreed on, queues set up, and
buffers put into them, after the virtio specification.
"""

import struct

from witness import pci

RED_HAT, VENDOR_CAP = 0x1af4, 0x09
COMMON, NOTIFY = 1, 2
DRIVER, FEATURES_OK, DRIVER_OK = 3, 11, 15
SIZE = 16               # of each queue
QUEUES = 0x200000
ROOM = 0x4000           # for each queue: three rings, and buffers behind
QUEUES_MAX = 8
# Not played here: a packed ring, an IOMMU in between, resets of one queue,
# and a guest that is asked to announce itself where it arrives
LEFT_OUT = 1 << 34 | 1 << 33 | 1 << 40 | 1 << 21


def is_virtio(function):
    ident = function.ident
    return ident and ident[0] == RED_HAT and 0x1000 <= ident[1] < 0x1080


class Driver:
    """start() sets the device up, buffers() gives it something to do."""

    def __init__(self, function, qtest):
        self.qtest = qtest
        self.sent = {}          # {queue: how many buffers it has got}
        areas = {}
        for offset, kind in function.capabilities():
            if kind == VENDOR_CAP:
                areas[function.byte(offset + 3)] = (
                    function.byte(offset + 4), function.readl(offset + 8),
                    function.readl(offset + 16))
        self.modern = COMMON in areas and NOTIFY in areas
        if not self.modern:
            return
        bar, offset, _ = areas[COMMON]
        self.common = self._base(function, bar) + offset
        bar, offset, self.factor = areas[NOTIFY]
        self.notify = self._base(function, bar) + offset

    @staticmethod
    def _base(function, bar):
        return function.readl(pci.BAR0 + 4 * bar) & ~0xf

    def start(self, rng):
        """False if the device does not take what it has offered."""
        if not self.modern:
            return False
        q, common = self.qtest, self.common
        q.writeb(common + 0x14, 0)
        q.writeb(common + 0x14, DRIVER)
        for half in (0, 1):
            q.writel(common, half)
            offered = q.readl(common + 4) & ~(LEFT_OUT >> 32 * half)
            if not half:
                # Some of them, or all of them
                offered &= rng.choice([0xffffffff, rng.getrandbits(32)])
            q.writel(common + 8, half)
            q.writel(common + 12, offered & 0xffffffff)
        q.writeb(common + 0x14, FEATURES_OK)
        if q.readb(common + 0x14) != FEATURES_OK:
            return False
        count = min(int(q.readl(common + 0x10) >> 16), QUEUES_MAX)
        for queue in range(count):
            self._queue(queue)
        q.writeb(common + 0x14, DRIVER_OK)
        return True

    def _queue(self, queue):
        q, common = self.qtest, self.common
        q.writew(common + 0x16, queue)
        if not q.readl(common + 0x18) & 0xffff:
            return
        q.writew(common + 0x18, SIZE)
        at = QUEUES + queue * ROOM
        q.write(at, bytes(ROOM))
        for register, place in (0x20, 0), (0x28, 0x1000), (0x30, 0x2000):
            q.writel(common + register, at + place)
            q.writel(common + register + 4, 0)
        q.writew(common + 0x1c, 1)
        self.sent[queue] = 0

    def buffers(self, rng, count):
        """Gives queues buffers to read, to write, or one of each."""
        for _ in range(count if self.sent else 0):
            queue = rng.choice(sorted(self.sent))
            number = self.sent[queue]
            if number >= SIZE // 2:
                continue
            self.sent[queue] += 1
            at = QUEUES + queue * ROOM
            data = at + 0x3000 + number * 0x100
            first = number * 2
            parts = rng.choice(['r', 'w', 'rw'])
            self.qtest.write(data, bytes(rng.choice([0, 0, 1, 2, 5, 0x12,
                                                     rng.randrange(256)])
                                         for _ in range(64)))
            for index, part in enumerate(parts):
                last = index == len(parts) - 1
                flags = (2 if part == 'w' else 0) | (0 if last else 1)
                self.qtest.write(at + 16 * (first + index), struct.pack(
                    '<QIHH', data + 128 * index, rng.choice([16, 32, 64]),
                    flags, first + index + 1))
            self.qtest.write(at + 0x1004 + 2 * number,
                             struct.pack('<H', first))
            self.qtest.write(at + 0x1002, struct.pack('<H', number + 1))
            self.qtest.writew(self.notify + queue * self.factor, queue)
