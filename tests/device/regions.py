# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a device's registers are: its PCI functions are given addresses, then
QEMU is asked which parts of memory and of the ports are whose.
"""

import re
import typing

from harness.qmp import QmpError
from witness import pci

DUT = '/machine/peripheral/dut'
INTEL = 0x8086
MEMORY_AT, PORTS_AT = 0xe0000000, 0xc000
MEMORY_END, PORTS_END = 0xfe000000, 0x10000
LINE = re.compile(r'^ *([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, '
                  r'([^)]*)\): (.*)$')
# What does not belong to a controller of its own
PLAIN_BUS = re.compile(r'/(pcie?|isa|main-system-bus|sysbus)\b[^/]*$')
OWNER = re.compile(r'(?:owner|parent):\{(?:dev|obj) (id|path)=([^}]+)\}')


class Region(typing.NamedTuple):
    """ports: whether it is of the I/O ports; name: what QEMU calls it"""
    ports: bool
    start: int
    size: int
    name: str


def owners(machine, device):
    """The QOM paths of the device and of what its bus belongs to."""
    if device.path:
        return [device.path]
    found = [DUT]
    try:
        bus = machine.vm.qmp('qom-get', path=DUT, property='parent_bus')
    except QmpError:
        return found
    above = bus.rpartition('/')[0]
    if above and not PLAIN_BUS.search(bus):
        found.append(above)
    return found


def _property(machine, path, name):
    try:
        return machine.vm.qmp('qom-get', path=path, property=name)
    except QmpError:
        return None


def functions(machine, device):
    """The PCI functions of the device, or of its controller."""
    found = []
    for path in owners(machine, device):
        devfn = _property(machine, path, 'addr')
        bus = _property(machine, path, 'parent_bus')
        if isinstance(devfn, int) and devfn >= 0 and bus and re.search(
                r'/pcie?\.0$', bus):
            found.append(pci.Function(machine.qtest, 0, devfn))
    return found


def map_function(function, memory, ports):
    """Gives its address registers addresses: where the next ones go."""
    sizes = function.bar_sizes()
    count = 2 if function.is_bridge else 6
    n = 0
    while n < count:
        size, offset = sizes[n], pci.BAR0 + 4 * n
        n += 1
        if not size:
            continue
        if size & 1:
            length = (~(size & 0xfffc) & 0xffff) + 1
            at = -(-ports // length) * length
            if at + length <= PORTS_END:
                function.writel(offset, at)
                ports = at + length
            continue
        wide = size & 6 == 4
        length = (~(size & ~0xf) & 0xffffffff) + 1
        if wide:
            n += 1
            if sizes[n - 1] != 0xffffffff:
                continue
            function.writel(offset + 4, 0)
        at = -(-memory // length) * length
        if length <= 0x10000000 and at + length <= MEMORY_END:
            function.writel(offset, at)
            memory = at + length
    function.writew(pci.COMMAND, 7)
    return memory, ports


def power_management(machine):
    """Puts the board's where firmware does."""
    for devfn, writes in (1 << 3 | 3, [(0x40, 0x601), (0x80, 1)]), (
            0x1f << 3, [(0x40, 0x600), (0x44, 0x80)]):
        function = pci.Function(machine.qtest, 0, devfn)
        if function.ident and function.ident[0] == INTEL:
            for offset, value in writes:
                function.writel(offset, value)


def map_all(machine, device):
    """Gives all of the device's functions addresses, and returns them."""
    memory, ports = MEMORY_AT, PORTS_AT
    found = functions(machine, device)
    if device.path:
        power_management(machine)
    for function in found:
        if function.ident:
            memory, ports = map_function(function, memory, ports)
    return found


def regions(machine, device):
    """The Regions of the device, in order, but for plain memory."""
    whose = owners(machine, device)
    found, ports = {}, None
    for line in machine.vm.hmp('info mtree -f -o').splitlines():
        if line.startswith('FlatView'):
            ports = None
        elif ' AS "I/O"' in line:
            ports = True
        elif ' AS "memory"' in line:
            ports = False
        match = LINE.match(line)
        if not match or ports is None:
            continue
        start, end, kind, rest = match.groups()
        if kind not in ('i/o', 'romd', 'ram', 'ramd'):
            continue
        mine = False
        for what, value in OWNER.findall(rest):
            path = f'/machine/peripheral/{value}' if what == 'id' else value
            mine = mine or any(path == owner or path.startswith(owner + '/')
                               for owner in whose)
        if mine and kind == 'i/o':
            start, end = int(start, 16), int(end, 16)
            found[ports, start] = Region(ports, start, end - start + 1,
                                         rest.partition(' owner')[0])
    return [found[key] for key in sorted(found)]
