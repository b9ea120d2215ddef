# SPDX-License-Identifier: GPL-2.0-or-later
"""What streams of all versions have in the same form, and no description
tells of: the fields of the configuration, and the names of RAM's blocks.
"""

import struct

from wireformat.model import Field, Item, leaf

CONFIGURATION = {
    'configuration': (leaf('len', 'uint32', 4), Field('name', 'buffer')),
    'configuration/target-page-bits': (leaf('target_page_bits', 'uint32', 4),),
    'configuration/capabilities': (leaf('caps_count', 'uint32', 4),
                                   Field('capabilities', 'capability')),
    'configuration/uuid': (leaf('uuid.data[16]', 'uint8', 1),),
}

BLOCK_SIZES = 4


class Unexplained(Exception):
    """There is something in a stream that nothing tells of."""


class Reader:
    """Takes a stream from the beginning on."""

    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values[0] if len(values) == 1 else values

    def string(self, form='>B'):
        length = self.take(form)
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def next_is(self, byte):
        return self.data[self.at:self.at + 1] == bytes([byte])

    def expect(self, condition, what):
        if not condition:
            raise Unexplained(f'at offset {self.at}: {what}')

    def configuration(self, name):
        """Takes the fields of a structure of the configuration."""
        self.expect(name in CONFIGURATION, f'unknown structure {name}')
        if name == 'configuration':
            self.string('>I')
        elif name == 'configuration/capabilities':
            for _ in range(self.take('>I')):
                self.string()
        else:
            self.at += 16 if name == 'configuration/uuid' else 4
        return CONFIGURATION[name]

    def blocks(self, name, has_addresses):
        """Items for the blocks that the section of RAM begins with.  Their
        order follows their sizes, which are up to the host's ROMs."""
        word = self.take('>Q')
        self.expect(word & 0xfff == BLOCK_SIZES, 'no sizes of blocks')
        left = word & ~0xfff
        names = []
        while left > 0:
            names.append(self.string())
            left -= self.take('>Q')
            if has_addresses:
                self.take('>Q')
        self.expect(left == 0, 'the sizes of the blocks do not add up')
        return [Item(f'{name}, block {block}', '') for block in sorted(names)]
