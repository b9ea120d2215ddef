# SPDX-License-Identifier: GPL-2.0-or-later
"""What a driver might write to a device's registers, and what is read back:
lines of the qtest protocol, which follow from a seed alone.
"""

import random

WRITES = 400            # for each state
READS = 1200            # at most, all regions together
HOT = 0x100             # where most registers are
STEP = 500000           # nanoseconds that go by now and then
# Guest memory in which a device finds what to do
POOL, POOL_SIZE = 0x100000, 0x10000

SUFFIX = {1: 'b', 2: 'w', 4: 'l', 8: 'q'}


def write(region, offset, size, value):
    verb = 'out' if region.ports else 'write'
    return f'{verb}{SUFFIX[size]} {region.start + offset:#x} {value:#x}'


def read(region, offset, size):
    verb = 'in' if region.ports else 'read'
    return f'{verb}{SUFFIX[size]} {region.start + offset:#x}'


def fill(rng):
    """Words in guest memory: small numbers, addresses, anything."""
    data = b''
    while len(data) < POOL_SIZE:
        data += _value(rng, 4).to_bytes(4, 'little')
    return data


def _value(rng, size):
    mask = (1 << 8 * size) - 1
    return mask & rng.choice([
        0, 1, mask, rng.getrandbits(32), rng.getrandbits(32),
        rng.getrandbits(4), rng.getrandbits(8), 1 << rng.randrange(8 * size),
        POOL + rng.randrange(POOL_SIZE // 64) * 64])


def _offset(rng, region, size):
    room = min(region.size, HOT) if rng.random() < .8 else region.size
    return max(0, rng.randrange(room) // size * size)


def _size(rng, region, offset=0):
    sizes = [1, 2, 4] if region.ports else [1, 2, 4, 4, 4]
    return rng.choice([s for s in sizes if offset + s <= region.size])


def ends_it(region, offset, value):
    """Whether that resets the machine, or puts it to sleep: it would not be
    in one state then."""
    port = region.start + offset
    return region.ports and (
        port in (0x92, 0xcf8, 0xcf9, 0xcfa, 0xcfb, 0xb2) or
        port == 0x64 and (value & 0xff >= 0xf0 or value & 0xff == 0xd1) or
        region.name.startswith('acpi-cnt'))


def writes(rng, regions, count=WRITES):
    """Lines that change the device, with time going by."""
    lines = []
    for number in range(count if regions else 0):
        region = rng.choice(regions)
        size = _size(rng, region)
        offset = _offset(rng, region, size)
        value = _value(rng, size)
        reads = rng.random() < .2
        if ends_it(region, offset, value):
            continue
        lines.append(read(region, offset, size) if reads else
                     write(region, offset, size, value))
        if number % 40 == 39:
            lines.append(f'clock_step {STEP}')
    return lines


def select(function, offset):
    return f'outl 0xcf8 {1 << 31 | function.devfn << 8 | offset:#x}'


def config_writes(rng, functions, count):
    """Lines that change what is behind the header in configuration space."""
    lines = []
    for _ in range(count):
        for function in functions:
            offset = rng.choice([0x0c, 0x3c, *range(0x40, 0x100, 4)])
            value = _value(rng, 1 if offset < 0x40 else 4)
            lines.append(select(function, offset))
            lines.append(f'out{"b" if offset < 0x40 else "l"} 0xcfc '
                         f'{value:#x}')
    return lines


def reads(regions, functions):
    """Lines that read all that a driver could, in an order that is fixed."""
    lines = []
    for function in functions:
        for offset in range(0, 0x100, 4):
            lines.append(select(function, offset))
            lines.append('inl 0xcfc')
    share = READS // max(1, len(regions))
    for region in regions:
        size = 1 if region.ports and region.size <= 64 else 4
        while size > region.size:
            size //= 2
        offsets = list(range(0, region.size - size + 1, size))
        if len(offsets) > share:
            # All of the beginning, and some of the rest
            near, far = offsets[:share // 2], offsets[share // 2:]
            step = -(-len(far) // (share - share // 2))
            offsets = near + far[::step]
        lines += [read(region, offset, size) for offset in offsets]
    return lines


def generator(*words):
    return random.Random(' '.join(map(str, words)))
