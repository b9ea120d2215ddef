# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that are not sent as long as the guest does not use them, and how a
guest uses them: a few writes, after each of which they would be missed.

Not a test: no TAP in here.
"""

import contextlib
import typing

from harness.qemu import BUILT, Qemu, migrate
from witness.qtest import Qtest

Q35 = 'pc-q35-7.2-v4'
FRESH = ['-S', '-m', '16M', '-rtc', 'base=2020-01-01,clock=vm']


class Device(typing.NamedTuple):
    """section, part: of the state; the part is a structure in it, None if it
    is all of it.
    use: what a guest does, to be given a Qtest.
    path: of the device, if there can be a machine without: without and
    switch: its options, and what -machine has behind its type.
    version: the oldest that has its state.
    stays: a reset leaves it used."""
    section: str
    use: typing.Callable
    args: tuple = ()
    machine: str = Q35
    part: str = None
    path: str = None
    without: tuple = ()
    switch: str = ''
    version: int = 3
    stays: bool = False


def use_hpet(qtest):
    """Its counter runs, and a timer is set."""
    base = 0xfed00000
    qtest.writeq(base + 0x108, 1 << 40)     # comparator of the first timer
    qtest.writeq(base + 0x10, 1)            # enabled


def use_floppy(qtest):
    """A command that fails, as there is no medium, and leaves its status."""
    qtest.outb(0x3f7, 1)                    # the rate
    for byte in 0x07, 0x00:                 # recalibrate the first drive
        qtest.outb(0x3f5, byte)


def use_serial(qtest):
    """A byte of its own that no reset of the line touches, and the queues."""
    qtest.outb(0x3f8 + 2, 0x81)             # queues on, trigger at 8 bytes
    qtest.outb(0x3f8 + 7, 0x5a)             # scratch


def use_serial_on_pci(qtest):
    config(qtest, 0x10, 0xc000)
    config(qtest, 4, 1)
    qtest.outb(0xc007, 0x5a)


def use_parallel(qtest):
    qtest.outb(0x378, 0x42)


def use_speaker(qtest):
    qtest.outb(0x61, 2)
    qtest.inb(0x61)


def use_sb16(qtest):
    """Another interrupt, and a volume."""
    for register, value in (0x80, 0x08), (0x22, 0x11):
        qtest.outb(0x224, register)
        qtest.outb(0x225, value)


def use_gus(qtest):
    qtest.outb(0x342, 5)                    # a voice


def use_cs4231a(qtest):
    qtest.outb(0x534, 6)                    # volume on the left
    qtest.outb(0x535, 0x3f)


def use_adlib(qtest):
    """A tone, and a timer that has run out."""
    for register, value in ((0x20, 0x21), (0x02, 0xff), (0x04, 0x01),
                            (0xa0, 0x98), (0xb0, 0x31)):
        qtest.outb(0x388, register)
        qtest.outb(0x389, value)
    for _ in range(100):
        qtest.clock_step(10_000_000)
        if qtest.inb(0x388) & 0x80:
            return
    raise AssertionError('the timer never runs out')


SLOT = 5


def config(qtest, offset, value):
    """Writes to the configuration of the PCI device that is tested."""
    qtest.outl(0xcf8, 0x80000000 | SLOT << 11 | offset & ~3)
    qtest.outl(0xcfc, value)


def read_config(qtest, offset):
    qtest.outl(0xcf8, 0x80000000 | SLOT << 11 | offset & ~3)
    return qtest.inl(0xcfc)


def capability(qtest, wanted, after=None):
    """Where in its configuration a capability is; with after, the next."""
    at = read_config(qtest, after) >> 8 & 0xff if after else (
        read_config(qtest, 0x34) & 0xff)
    while at and read_config(qtest, at) & 0xff != wanted:
        at = read_config(qtest, at) >> 8 & 0xff
    return at


MSIX, VENDOR = 0x11, 9


def use_vectors(qtest):
    """MSI-X is on, and the second vector goes somewhere."""
    bar = 0xfeb00000
    at = capability(qtest, MSIX)
    number = read_config(qtest, at + 4) & 7
    config(qtest, 0x10 + 4 * number, bar)
    config(qtest, 4, 6)                     # memory, and bus mastering
    qtest.writel(bar + 16, 0xfee00000)
    config(qtest, at, 0x8000 << 16)


COMMON, DEVICE = 1, 4


def structure(qtest, wanted):
    """Where a structure of a virtio device's registers is in memory."""
    bar = 0xfe000000
    at = capability(qtest, VENDOR)
    while read_config(qtest, at) >> 24 != wanted:
        at = capability(qtest, VENDOR, at)
    number = read_config(qtest, at + 4) & 0xff
    config(qtest, 0x10 + 4 * number, bar)
    config(qtest, 0x14 + 4 * number, 0)
    config(qtest, 4, 6)
    return bar + read_config(qtest, at + 8)


def use_queue(qtest):
    """The driver sets up the second queue of a device of version 1."""
    base = structure(qtest, COMMON)
    for status in 1, 3:
        qtest.writeb(base + 0x14, status)
    qtest.writel(base + 0x08, 1)            # of the guest's features
    qtest.writel(base + 0x0c, 1)            # version 1
    qtest.writeb(base + 0x14, 11)
    qtest.writew(base + 0x16, 1)            # the second queue
    qtest.writew(base + 0x18, 64)           # its size
    for register, value in (0x20, 0x10000), (0x28, 0x20000), (0x30, 0x30000):
        qtest.writel(base + register, value)
    qtest.writew(base + 0x1c, 1)            # enabled
    qtest.writeb(base + 0x14, 15)


def use_balloon(qtest):
    """The guest says how many pages it has given."""
    qtest.writel(structure(qtest, DEVICE) + 4, 16)


def use_ac97(qtest):
    """The second bus master, which plays, knows its buffers."""
    config(qtest, 0x14, 0xc100)
    config(qtest, 4, 1)
    qtest.outl(0xc110, 0x10000)
    qtest.outb(0xc11b, 0x10)                # it may interrupt


def use_es1370(qtest):
    """How many samples the first channel has."""
    config(qtest, 0x10, 0xc000)
    config(qtest, 4, 1)
    qtest.outl(0xc024, 100)


def memory(qtest):
    """Where the registers of a PCI device are now."""
    bar = 0xfe000000
    config(qtest, 0x10, bar)
    config(qtest, 4, 6)
    return bar


def use_codec(qtest):
    """A stream gets its number, by a command without a ring for it."""
    base = memory(qtest)
    qtest.writel(base + 0x08, 1)            # out of reset
    qtest.writel(base + 0x60, 2 << 20 | 0x706 << 8 | 0x10)
    qtest.writew(base + 0x68, 1)


def use_interrupter(qtest):
    """The moderation of the second one."""
    qtest.writel(memory(qtest) + 0x1000 + 0x20 + 0x20 + 4, 4000)


PCI = '0000:00:05.0'
SOUND = ('-device', f'intel-hda,id=hda,addr={SLOT}', '-audiodev', 'none,id=a',
         '-device', 'hda-duplex,bus=hda.0,audiodev=a')
AUDIO = '-audiodev', 'none,id=a'
ISA = '/q35-pcihost/pcie.0/1f.0/isa.0/'
PORTS = '-device', f'virtio-serial-pci,disable-legacy=on,addr={SLOT}'

DEVICES = {
    'hpet': Device('hpet', use_hpet, path='/hpet', switch=',hpet=off'),
    'floppy': Device('fdc', use_floppy, ('-drive', 'if=floppy'),
                     path='/q35-pcihost/pcie.0/1f.0/isa.0/3f0'),
    'serial port': Device(
        'serial', use_serial, ('-serial', 'null'),
        path='/q35-pcihost/pcie.0/1f.0/isa.0/3f8'),
    'serial port on PCI': Device(
        f'{PCI}/pci-serial', use_serial_on_pci,
        ('-chardev', 'null,id=c', '-device',
         f'pci-serial,chardev=c,addr={SLOT}'),
        part='serial'),
    'parallel port': Device(
        'parallel_isa', use_parallel, ('-parallel', 'null'),
        path='/q35-pcihost/pcie.0/1f.0/isa.0/378'),
    'speaker': Device('pcspk', use_speaker),
    'vectors of MSI-X': Device(f'{PCI}/virtio-console', use_vectors, PORTS,
                               part='msix'),
    'queues': Device(f'{PCI}/virtio-console', use_queue, PORTS,
                     part='virtio_pci/modern_queue_state'),
    'interrupters of a USB controller': Device(
        f'{PCI}/xhci', use_interrupter,
        ('-device', f'qemu-xhci,addr={SLOT}'), part='xhci-intr'),
    'sound codec': Device(
        'hda-audio', use_codec, SOUND,
        path='/q35-pcihost/pcie.0/05.0/hda.0/0', without=SOUND[:2]),
    'Sound Blaster': Device(
        'sb16', use_sb16, (*AUDIO, '-device', 'sb16,audiodev=a'),
        path=f'{ISA}220', without=AUDIO),
    'Gravis Ultrasound': Device(
        'gus', use_gus, (*AUDIO, '-device', 'gus,audiodev=a'),
        path=f'{ISA}240', without=AUDIO),
    'Crystal sound': Device(
        'cs4231a', use_cs4231a, (*AUDIO, '-device', 'cs4231a,audiodev=a'),
        path=f'{ISA}534', without=AUDIO),
    'AdLib': Device(
        'adlib', use_adlib, (*AUDIO, '-device', 'adlib,audiodev=a'),
        path=f'{ISA}220', without=AUDIO, version=4),
    'bus masters of AC97': Device(
        f'{PCI}/ac97', use_ac97,
        (*AUDIO, '-device', f'AC97,audiodev=a,addr={SLOT}'),
        part='ac97_bm_regs'),
    'channels of ES1370': Device(
        f'{PCI}/es1370', use_es1370,
        (*AUDIO, '-device', f'ES1370,audiodev=a,addr={SLOT}'),
        part='es1370_channel'),
    'balloon': Device(
        f'{PCI}/virtio-balloon', use_balloon,
        ('-device', f'virtio-balloon-pci,disable-legacy=on,addr={SLOT}'),
        part='virtio-balloon-device', stays=True),
}


@contextlib.contextmanager
def start(machine, *args, binary=BUILT, accel='qtest', **options):
    """A machine whose CPUs never do anything, and what reaches its
    devices."""
    with Qtest() as qtest, Qemu(
            binary, *FRESH, *args, *qtest.args(), machine=machine,
            accel=accel, pass_fds=[qtest.theirs.fileno()], **options) as vm:
        qtest.started()
        yield vm, qtest


def sent(directory, vm, version):
    """The path of the stream that a machine sends."""
    path = directory / 'stream'
    vm.set_params(stream_version=version)
    migrate(vm, f'exec:cat > {path}')
    vm.set_params(stream_version=4)
    # It has its disks back, and can be sent once more
    vm.qmp('cont')
    vm.qmp('stop')
    return path
