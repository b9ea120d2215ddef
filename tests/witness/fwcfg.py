# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what fw_cfg holds for the firmware: the files (ACPI and SMBIOS
tables, the memory map, ...) and the items that have only a number."""

import struct

SELECTOR, DATA, DMA = 0x510, 0x511, 0x514

SIGNATURE, ID, DIRECTORY = 0x00, 0x01, 0x19
# Numbers below the files, and those of the architecture.
NUMBERED = [*range(0x00, 0x20), *range(0x8000, 0x8008)]
# More than any numbered item has; what follows the end of an item is zero.
NUMBERED_SIZE = 4096

DMA_ERROR, DMA_READ, DMA_SELECT, DMA_WRITE = 1, 2, 8, 16


class FwCfg:
    """buffer: guest memory that nobody else uses, for DMA."""

    def __init__(self, qtest, buffer):
        self._qtest = qtest
        self._buffer = buffer
        # A real interface presents itself before it is trusted.
        signature = self._by_port(SIGNATURE, 4)
        if signature != b'QEMU':
            raise ValueError(f'no fw_cfg here: signature {signature!r}')
        self._has_dma = self._by_port(ID, 4)[0] & 2

    def _by_port(self, key, size):
        self._qtest.outw(SELECTOR, key)
        return bytes(self._qtest.inb(DATA) for _ in range(size))

    def _by_dma(self, key, size, command):
        """Moves size bytes between an item and the second half of the
        buffer."""
        request = self._buffer
        self._qtest.write(request, struct.pack(
            '>IIQ', key << 16 | DMA_SELECT | command, size, request + 16))
        # The ports are big endian; the low half starts the transfer.
        for port, half in ((DMA, request >> 32), (DMA + 4, request)):
            self._qtest.outl(port, int.from_bytes(
                (half & 0xffffffff).to_bytes(4, 'little'), 'big'))
        control = int.from_bytes(self._qtest.read(request, 4), 'big')
        if control & DMA_ERROR:
            raise ValueError(f'fw_cfg: DMA with item {key:#x} failed')

    def read(self, key, size):
        if not self._has_dma:
            return self._by_port(key, size)
        self._by_dma(key, size, DMA_READ)
        return self._qtest.read(self._buffer + 16, size)

    def _write(self, key, data):
        self._qtest.write(self._buffer + 16, data)
        self._by_dma(key, len(data), DMA_WRITE)

    def _directory(self):
        """(key, size, name) of every file"""
        count = int.from_bytes(self.read(DIRECTORY, 4), 'big')
        entries = self.read(DIRECTORY, 4 + 64 * count)[4:]
        for size, key, name in struct.iter_unpack('>IHxx56s', entries):
            yield key, size, name.rstrip(b'\0').decode()

    def files(self):
        """{name: content}"""
        return {name: self.read(key, size) if size else b''
                for key, size, name in self._directory()}

    def numbered(self):
        """{number: content} of the items that are no files."""
        return {key: self.read(key, NUMBERED_SIZE) for key in NUMBERED
                if key != DIRECTORY}

    def choose_smi_features(self):
        """Asks for all SMI features that there are, as firmware does."""
        index = {name: key for key, size, name in self._directory()}
        if 'etc/smi/supported-features' not in index:
            return
        offered = self.read(index['etc/smi/supported-features'], 8)
        self._write(index['etc/smi/requested-features'], offered)
        if self.read(index['etc/smi/features-ok'], 1) != b'\1':
            raise ValueError('fw_cfg: the SMI features were refused')
