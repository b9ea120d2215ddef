# SPDX-License-Identifier: GPL-2.0-or-later
"""How each device is made: what it needs beside its name, and the controller
that its bus belongs to.
"""

import re
import subprocess
import typing

from device.machine import Machine
from harness.qemu import BUILT, environment

DISK = '-blockdev null-co,node-name=disk,size=16777216,read-zeroes=on'
CHAR = '-chardev null,id=char'
SOUND = '-audiodev none,id=sound'
NET = '-netdev hubport,id=net,hubid=0'
RAM = '-object memory-backend-ram,id=mem,size=16M'
BMC = '-device ipmi-bmc-sim,id=bmc'
CAN = '-object can-bus,id=can'
ROOT = '-device pcie-root-port,id=root,chassis=9'

# (what the name is like, options, properties); the first that fits counts.
NEEDS = [
    ('i82801b11-bridge', '', ''),
    ('virtio-net.*|e1000.*|i82.*|ne2k_.*|pcnet|rtl8139|tulip|vmxnet3|usb-net',
     NET, 'netdev=net,mac=52:54:00:00:00:01'),
    ('virtio-blk.*', DISK, 'drive=disk,serial=1'),
    ('(ide|scsi)-(hd|cd)', DISK, 'drive=disk,serial=1'),
    ('floppy', '-device isa-fdc,id=ctl -blockdev null-co,node-name=disk,'
               'size=1474560,read-zeroes=on', 'drive=disk,bus=ctl.0'),
    ('sd-card', f'-device sdhci-pci,id=ctl,addr=6 {DISK}', 'drive=disk'),
    ('usb-storage', DISK, 'drive=disk,serial=1'),
    ('nvme', DISK, 'drive=disk,serial=1'),
    ('nvme-ns', f'{DISK} -device nvme,id=ctl,serial=1,addr=6',
     'drive=disk,bus=ctl'),
    ('isa-serial|pci-serial|virtserialport|virtconsole|usb-serial|'
     'isa-debugcon|usb-braille', CHAR, 'chardev=char'),
    ('isa-parallel', CHAR, 'chardev=char,iobase=0x278'),
    ('pci-serial-2x|pci-serial-4x', CHAR, ''),
    ('AC97|ES1370|adlib|cs4231a|gus|sb16|hda-(duplex|micro|output)|usb-audio',
     SOUND, 'audiodev=sound'),
    ('(isa|pci)-ipmi-(bt|kcs)|smbus-ipmi', BMC, 'bmc=bmc'),
    ('ivshmem-plain', RAM, 'memdev=mem,master=on'),
    ('acpi-erst|virtio-pmem-pci|pc-dimm|nvdimm', RAM, 'memdev=mem'),
    ('virtio-mem-pci', RAM, 'memdev=mem,requested-size=4M'),
    ('ipoctal232', '-device tpci200,id=ctl,addr=6', ''),
    ('xio3130-downstream', f'{ROOT} -device x3130-upstream,id=up,bus=root',
     'bus=up,chassis=3'),
    ('x3130-upstream|cxl-upstream|pcie-pci-bridge', ROOT, 'bus=root'),
    ('pxb|pxb-pcie', '', 'bus_nr=100'),
    ('pcie-root-port|ioh3420', '', 'chassis=3'),
    ('pci-bridge|pci-bridge-seat', '', 'chassis_nr=3'),
    ('vmgenid', '', 'guid=324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87'),
    ('pci-testdev', '', 'membar=64K'),
    ('virtio-crypto-pci', '-object cryptodev-backend-builtin,id=crypto',
     'cryptodev=crypto'),
    ('isa-applesmc', '', 'osk=' + 64 * 'x'),
    ('isa-fdc', '', 'iobase=0x370'),
    ('kvaser_pci', CAN, 'canbus=can'),
    ('(ctucan|pcm3680|mioe3680)_pci', CAN, 'canbus0=can,canbus1=can'),
]

# What has the bus that a device goes to
CONTROLLERS = {
    'usb-bus': '-device piix3-usb-uhci,id=ctl,addr=6',
    'SCSI': '-device virtio-scsi-pci,id=ctl,addr=6',
    'HDA': '-device intel-hda,id=ctl,addr=6',
    'virtio-serial-bus': '-device virtio-serial-pci,id=ctl,addr=6',
}
# Of high speed
EHCI = {'usb-uas': '-device usb-ehci,id=ctl,addr=6'}
ON_BUS_0 = re.compile('x3130.*|xio3130.*|cxl-upstream|pcie-pci-bridge')

# Not looked at, and why
NOT_ALONE = [
    ('.*-x86_64-cpu', 'a processor'),
    ('vhost.*|vfio.*|u2f.*|scsi-(block|generic)|virtio-input-host.*|tpm-.*|'
     'usb-mtp|ipmi-bmc-extern|ivshmem-doorbell',
     'needs something of the host'),
    ('virtio-.*-device|virtio-(mem|pmem)', 'on PCI here'),
    ('loader|guest-loader|nvme-subsys|ipmi-bmc-sim', 'has no state'),
    ('isa-debug-exit', 'ends the machine'),
    ('cxl.*|pxb-cxl|AMDVI-PCI|vmbus-bridge|hv-syndbg|hyperv-testdev|'
     'i2c-ddc', 'needs a machine that is not plain'),
    ('i8042|mc146818rtc|vmmouse', 'is on every board'),
    ('pc-testdev', 'ends QEMU if it is told to'),
]


# What makes a board complete
BOARD = ('-vga std -serial null -parallel null -drive if=floppy,'
         'driver=null-co,size=1474560,read-zeroes=on -drive if=ide,index=0,'
         'driver=null-co,size=16777216,read-zeroes=on -drive if=ide,index=2,'
         'media=cdrom,driver=null-co,size=16777216,read-zeroes=on')
# Processors have their own
NOT_OF_BOARD = re.compile('.*-cpu|apic|.*-machine|kvmvapic')


class Device(typing.NamedTuple):
    """driver: its name; bus: the kind of bus that it goes to; path: where it
    is, if it is one of the board's"""
    driver: str
    bus: str
    path: str = None

    def why_not(self):
        """Why it is not looked at, or None."""
        for pattern, why in NOT_ALONE:
            if re.fullmatch(pattern, self.driver):
                return why
        return None

    def arguments(self):
        """(options without the device, all options)"""
        if self.path:
            return [], BOARD.split()
        before, properties = [], ''
        for pattern, options, given in NEEDS:
            if re.fullmatch(pattern, self.driver):
                before = options.split()
                properties = given
                break
        controller = EHCI.get(self.driver, CONTROLLERS.get(self.bus, ''))
        before = [*controller.split(), *before]
        device = ','.join(filter(None, [self.driver, 'id=dut', properties]))
        if self.bus == 'PCI' and not ON_BUS_0.fullmatch(self.driver):
            device += ',addr=5'
        if self.driver in ('pc-dimm', 'nvdimm', 'virtio-mem-pci',
                           'virtio-pmem-pci'):
            before = ['-m', '16M,slots=4,maxmem=1G', *before]
        return before, [*before, '-device', device]


def devices():
    """All that QEMU lists as something that -device makes."""
    said = subprocess.run([BUILT, '-device', 'help'], text=True, check=True,
                          capture_output=True, timeout=60, env=environment())
    return [Device(*found) for found in re.findall(
        r'^name "([^"]+)"(?:, bus ([^,\n]+))?.*$', said.stdout, re.M)]


def of_board(machine):
    """What a board has registers of, each under the name of its type."""
    with Machine(machine, BOARD.split()) as vm:
        paths = dict.fromkeys(re.findall(r'owner:\{dev path=([^}]+)\}',
                                         vm.vm.hmp('info mtree -f -o')))
        found = {}
        for path in paths:
            kind = vm.vm.qmp('qom-get', path=path, property='type')
            if not NOT_OF_BOARD.fullmatch(kind):
                found.setdefault(kind, []).append(path)
    return [Device(f'board/{kind}' + (f'/{number}' if number else ''), '',
                   path)
            for kind, of_kind in found.items()
            for number, path in enumerate(of_kind)]
