# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without an operating system: qtest writes its memory, and is the
driver of its virtio devices.

Not a test: no TAP in here.
"""

import base64
import itertools
import socket
import struct

from harness.qemu import Qemu, wait_for

PIECE = 256 << 10
# Memory of the guest for rings and buffers, a page for each
RINGS = 0x100000
AVAIL, USED, SIZE = 0x400, 0x800, 64
NEXT, WRITE = 1, 2
WINDOWS = 0xe0000000            # for what a device has in the memory's space
DEVICE, NOTIFY = 0x2000, 0x3000


class Bare(Qemu):
    """A QEMU whose processor does nothing, with qtest for the rest."""

    def __init__(self, binary, *args, directory, name, **options):
        path = directory / f'{name}.qtest'
        super().__init__(binary, '-qtest', f'unix:{path},server=on,wait=off',
                         '-qtest-log', '/dev/null', *args, accel='qtest',
                         name=name, **options)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile('rb')
        self.pages = itertools.count(RINGS, 4096)

    def close(self):
        self.lines.close()
        self.socket.close()
        super().close()

    def ask(self, line):
        self.socket.sendall(line.encode() + b'\n')
        while answer := self.lines.readline().split():
            if answer[0] == b'OK':
                return answer[1] if len(answer) > 1 else b''
            if answer[0] != b'IRQ':
                break
        raise RuntimeError(f'{self.name}: {line[:40]!r} gives {answer}')

    def write(self, address, data):
        for at in range(0, len(data), PIECE):
            piece = data[at:at + PIECE]
            self.ask(f'b64write {address + at:#x} {len(piece):#x} '
                     f'{base64.b64encode(piece).decode()}')

    def read(self, address, size):
        return bytes.fromhex(self.ask(f'read {address:#x} {size:#x}')[2:]
                             .decode())

    def config(self, slot, register, value):
        self.ask(f'outl 0xcf8 {1 << 31 | slot << 11 | register:#x}')
        self.ask(f'outl 0xcfc {value:#x}')


class Virtio:
    """The driver of a modern virtio device on the root bus."""

    def __init__(self, vm, slot, queues):
        self.vm = vm
        self.window = WINDOWS + slot * 0x10000
        self.sent = [0] * queues
        vm.config(slot, 0x20, self.window)
        vm.config(slot, 0x24, 0)
        vm.config(slot, 0x04, 6)
        self._put(20, 'B', 0)
        self._put(20, 'B', 3)
        for half in range(2):   # all that it offers
            self._put(0, '<I', half)
            offered = vm.read(self.window + 4, 4)
            self._put(8, '<I', half)
            self._put(12, '<I', *struct.unpack('<I', offered))
        self._put(20, 'B', 11)
        self.rings = [next(vm.pages) for _ in range(queues)]
        for queue, ring in enumerate(self.rings):
            self._put(22, '<H', queue)
            self._put(24, '<H', SIZE)
            for at, where in (32, ring), (40, ring + AVAIL), (48, ring + USED):
                self._put(at, '<I', where)
                self._put(at + 4, '<I', 0)
            self._put(28, '<H', 1)
        self._put(20, 'B', 15)
        self.buffer = next(vm.pages)

    def _put(self, at, layout, value):
        size = {'B': 'b', '<H': 'w', '<I': 'l'}[layout]
        self.vm.ask(f'write{size} {self.window + at:#x} {value:#x}')

    def configuration(self, at, layout):
        return struct.unpack(layout, self.vm.read(
            self.window + DEVICE + at, struct.calcsize(layout)))[0]

    def send(self, queue, *parts):
        """Gives parts, (address, size, flags), to the device, and waits until
        it has done what it does with them."""
        ring, number = self.rings[queue], self.sent[queue]
        for n, (address, size, flags) in enumerate(parts):
            more = NEXT if n + 1 < len(parts) else 0
            self.vm.write(ring + 16 * n, struct.pack('<QIHH', address, size,
                                                     flags | more, n + 1))
        self.vm.write(ring + AVAIL + 4 + number % SIZE * 2, bytes(2))
        self.sent[queue] = number = number + 1
        self.vm.write(ring + AVAIL, struct.pack('<HH', 0, number))
        self._put(NOTIFY + 4 * queue, '<H', queue)
        wait_for(lambda: self.vm.read(ring + USED + 2, 2) ==
                 struct.pack('<H', number), 60, lambda: 'no answer')

    def say(self, queue, data, answer=0):
        """Sends bytes, and returns the answer of that size."""
        self.vm.write(self.buffer, data + bytes(answer))
        end = self.buffer + len(data)
        self.send(queue, (self.buffer, len(data), 0),
                  *[(end, answer, WRITE)] * bool(answer))
        return self.vm.read(end, answer) if answer else b''


class Balloon(Virtio):
    """virtio-balloon-pci, with free-page-hint=on if hints are given."""

    HINTS = 3

    def __init__(self, vm, slot):
        super().__init__(vm, slot, 4)

    def inflate(self, address, size):
        first, pages = address // 4096, size // 4096
        for at in range(first, first + pages, 512):
            self.say(0, b''.join(struct.pack('<I', page) for page in
                                 range(at, min(at + 512, first + pages))))

    def wanted(self):
        """What hints are asked for by, if they are."""
        command = self.configuration(8, '<I')
        return command if command >= 1 << 31 else 0

    def hint(self, address, size):
        """These pages are free, as far as the migration asks."""
        self.say(self.HINTS, struct.pack('<I', self.wanted()))
        self.send(self.HINTS, (address, size, WRITE))
        self.say(self.HINTS, struct.pack('<I', 0))


class Plugged(Virtio):
    """virtio-mem-pci."""

    def __init__(self, vm, slot):
        super().__init__(vm, slot, 1)
        self.block = self.configuration(0, '<Q')
        self.address = self.configuration(16, '<Q')

    def request(self, kind, block, count):
        answer = self.say(0, struct.pack('<HHHHQHHHH', kind, 0, 0, 0,
                                         self.address + block * self.block,
                                         count, 0, 0, 0), 10)
        if answer[:2] != bytes(2):
            raise RuntimeError(f'virtio-mem says {answer}')

    def plug(self, block, count=1):
        self.request(0, block, count)

    def unplug(self, block, count=1):
        self.request(1, block, count)
