# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds PCI functions as a firmware does, and reads what they show.

The buses behind bridges get their numbers here (nobody else gives them any:
the CPUs stand still), in the order in which the bridges are found.
"""

COMMAND = 0x04
BAR0 = 0x10
BRIDGE_BUSES = 0x18
CAPABILITIES = 0x34

MCH_PCIEXBAR = 0x60
MMCONFIG = 0xb0000000


class Function:
    """One PCI function, reached through the ports 0xcf8 and 0xcfc."""

    def __init__(self, qtest, bus, devfn):
        self._qtest = qtest
        self.bus = bus
        self.devfn = devfn
        self.name = f'{bus:02x}:{devfn >> 3:02x}.{devfn & 7}'

    def _select(self, offset):
        self._qtest.outl(0xcf8, 1 << 31 | self.bus << 16 | self.devfn << 8
                         | offset & 0xfc)

    def readl(self, offset):
        self._select(offset)
        return self._qtest.inl(0xcfc)

    def writel(self, offset, value):
        self._select(offset)
        self._qtest.outl(0xcfc, value)

    def writew(self, offset, value):
        self._select(offset)
        self._qtest.outw(0xcfc + (offset & 2), value)

    def byte(self, offset):
        return self.readl(offset) >> 8 * (offset & 3) & 0xff

    @property
    def ident(self):
        """(vendor, device), or None where there is no function."""
        value = self.readl(0)
        return None if value == 0xffffffff else (value & 0xffff, value >> 16)

    @property
    def is_bridge(self):
        return self.byte(0x0e) & 0x7f == 1

    def config(self):
        """The 256 bytes of its configuration space."""
        return b''.join(self.readl(offset).to_bytes(4, 'little')
                        for offset in range(0, 256, 4))

    def capabilities(self):
        """(offset, id) of the capabilities that it lists."""
        offset = self.byte(CAPABILITIES) & 0xfc
        while offset:
            yield offset, self.byte(offset)
            offset = self.byte(offset + 1) & 0xfc

    def bar_sizes(self):
        """What it answers when its address registers are sized."""
        count = 2 if self.is_bridge else 6
        sizes = []
        for offset in [BAR0 + 4 * n for n in range(count)] + [
                0x38 if self.is_bridge else 0x30]:
            before = self.readl(offset)
            self.writel(offset, 0xffffffff)
            sizes.append(self.readl(offset))
            self.writel(offset, before)
        return sizes


def functions(qtest, roots=(0,)):
    """All PCI functions below the root buses, buses numbered on the way."""
    numbered = []
    for root in roots:
        yield from _functions(qtest, root, numbered)


def _functions(qtest, bus, numbered):
    for slot in range(32):
        for number in range(8):
            function = Function(qtest, bus, slot << 3 | number)
            if function.ident is None:
                if number == 0:
                    break
                continue
            yield function
            if function.is_bridge:
                yield from _behind(qtest, function, numbered)
            if number == 0 and not function.byte(0x0e) & 0x80:
                break


def _behind(qtest, bridge, numbered):
    secondary = len(numbered) + 1
    numbered.append(secondary)

    def claim(last):
        latency = bridge.readl(BRIDGE_BUSES) & 0xff000000
        bridge.writel(BRIDGE_BUSES,
                      latency | last << 16 | secondary << 8 | bridge.bus)

    claim(0xff)
    yield from _functions(qtest, secondary, numbered)
    claim(len(numbered))


def open_mmconfig(qtest):
    """Maps the extended configuration spaces of a q35 machine."""
    host = Function(qtest, 0, 0)
    host.writel(MCH_PCIEXBAR + 4, 0)
    host.writel(MCH_PCIEXBAR, MMCONFIG | 1)


def extended_config(qtest, function):
    """The 4 KiB of configuration space of a function on a q35 machine."""
    return qtest.read(MMCONFIG + (function.bus << 20)
                      + (function.devfn << 12), 4096)
