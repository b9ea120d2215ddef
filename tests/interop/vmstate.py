# SPDX-License-Identifier: GPL-2.0-or-later
"""The stream inside a qcow2 image's snapshot, which can be replaced while a
QEMU has the image open: that loads a snapshot in a few milliseconds, where a
destination of its own for each stream takes a hundred.

Not a test: no TAP in here.
"""

import struct

from interop import wire

HEADER = struct.Struct('>4sIQIIQIIQQIIQ')
SNAPSHOT = struct.Struct('>QIHH')
OFFSET = 0x00fffffffffffe00     # what of a table's entry is an offset


class VmState:
    """The only snapshot of an image.

    stream   the bytes that were saved, from the preamble to the end
    """

    def __init__(self, path):
        self.file = open(path, 'r+b')
        self.clusters = self._clusters()
        self.now = b''.join(map(self._cluster, self.clusters))
        self.room = len(self.now)
        at, kind = wire.PREAMBLE.size, None
        while kind != wire.END:
            kind, _, _, length, *_ = wire.HEADER.unpack_from(self.now, at)
            at += wire.HEADER.size + length
        self.stream = self.now[:at]

    def close(self):
        self.file.close()

    def write(self, stream):
        """Puts another stream there.  What is behind the room that was made
        is left out: whatever is wrong has to be before that."""
        new = stream[:self.room].ljust(self.room, b'\0')
        for number, where in enumerate(self.clusters):
            part = slice(number * self.size, (number + 1) * self.size)
            if new[part] != self.now[part]:
                self.file.seek(where)
                self.file.write(new[part])
        self.file.flush()
        self.now = new

    def _table(self, where, entries):
        self.file.seek(where)
        return struct.unpack(f'>{entries}Q', self.file.read(8 * entries))

    def _cluster(self, where):
        self.file.seek(where)
        return self.file.read(self.size).ljust(self.size, b'\0')

    def _clusters(self):
        """Where the snapshot's state is: the clusters behind those of the
        disk."""
        (magic, _, _, _, bits, disk, _, _, _, _, _, snapshots,
         where) = HEADER.unpack(self.file.read(HEADER.size))
        assert (magic, snapshots) == (b'QFI\xfb', 1), (magic, snapshots)
        self.size = 1 << bits
        self.file.seek(where)
        table, entries, _, _ = SNAPSHOT.unpack(self.file.read(SNAPSHOT.size))
        per_table = self.size // 8
        first = -(-disk // (per_table * self.size))
        clusters = []
        for entry in self._table(table, entries)[first:]:
            if entry:
                clusters += self._table(entry & OFFSET, per_table)
        return [entry & OFFSET for entry in clusters if entry & OFFSET]
