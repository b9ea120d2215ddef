# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine types that the tests run, and what is plugged into them.

Whatever could differ from one run to the next is fixed: the clock, the UUID,
MAC addresses, serial numbers.
"""

import re

PC = re.compile(r'pc-(i440fx|q35)-(\d+(?:\.\d+)*)(-v\d+)?$')

UUID = '0d5f9ea2-6e1b-4ad5-9d4e-36a3b4b7f1c4'
GENERATION_ID = '324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87'


def release(machine):
    """The release that a machine type stands for: (2, 12), (4, 0, 1)"""
    return tuple(map(int, PC.match(machine).group(2).split('.')))


def family(machine):
    """'i440fx' or 'q35'"""
    return PC.match(machine).group(1)


def model(machine):
    """The type whose hardware it has: pc-q35-7.2 of pc-q35-7.2-v4"""
    return machine.removesuffix(PC.match(machine).group(3) or '')


def machine_types(qemu):
    """The names of the PC machine types that a running QEMU has."""
    return {info['name'] for info in qemu.qmp('query-machines')
            if PC.match(info['name'])}


FIXED = [
    '-S', '-smp', '2',
    '-rtc', 'base=2020-01-01,clock=vm', '-uuid', UUID,
    '-audiodev', 'none,id=sound',
]

# The first releases that have it.
MEMORY_HOTPLUG = '2.1'
NVDIMM = '2.1 nvdimm'
FW_CFG_FILES = '2.9'
SECOND_VGA = '3.0'

DISK = 16 << 20

# {set: [(machines, options)]}; machines says which types an option is for:
# a family, the oldest release, both or nothing.
SETS = {
    # Two cards on back ends of one kind: two sections of one name.
    'bare': [
        ('', '-nic user,id=net0,model=e1000,mac=52:54:00:00:00:01'),
        ('', '-nic user,id=net1,model=rtl8139,'
             'mac=52:54:00:00:00:02'),
        ('', '-serial null'),
        ('', '-parallel null'),
    ],

    'virtio': [
        ('', '-netdev user,id=net0'),
        ('', '-device virtio-net-pci,netdev=net0,mac=52:54:00:00:01:01'),
        ('', '-device virtio-net-pci,mq=on,rss=on,mac=52:54:00:00:01:02'),
        ('', '-device virtio-net-pci-transitional,mac=52:54:00:00:01:03'),
        ('', f'-blockdev null-co,node-name=disk0,size={DISK},read-zeroes=on'),
        ('', f'-blockdev null-co,node-name=disk1,size={DISK},read-zeroes=on'),
        ('', f'-blockdev null-co,node-name=disk2,size={DISK},read-zeroes=on'),
        ('', '-device virtio-blk-pci,drive=disk0,serial=disk0'),
        ('', '-device virtio-scsi-pci,id=scsi'),
        ('', '-device scsi-hd,bus=scsi.0,drive=disk1,serial=disk1'),
        ('', '-device scsi-cd,bus=scsi.0,drive=disk2,serial=disk2'),
        ('', '-chardev null,id=char0 -chardev null,id=char1'),
        ('', '-device virtio-serial-pci'),
        ('', '-device virtconsole,chardev=char0'),
        ('', '-device virtserialport,chardev=char1,name=port'),
        ('', '-object rng-builtin,id=rng'),
        ('', '-device virtio-rng-pci,rng=rng'),
        ('', '-device virtio-balloon-pci,free-page-reporting=on'),
        ('', '-device virtio-keyboard-pci'),
        ('', '-device virtio-mouse-pci'),
        ('', '-device virtio-tablet-pci'),
        ('', '-device virtio-gpu-pci'),
        (MEMORY_HOTPLUG, '-object memory-backend-ram,id=ram0,size=16M'),
        (MEMORY_HOTPLUG, '-device virtio-mem-pci,memdev=ram0'),
        (MEMORY_HOTPLUG, '-object memory-backend-ram,id=ram1,size=4M'),
        (MEMORY_HOTPLUG, '-device virtio-pmem-pci,memdev=ram1'),
        ('q35', '-device virtio-iommu-pci'),
    ],

    # Network, USB, sound and ISA.
    'slow': [
        ('', '-device e1000e,mac=52:54:00:00:02:01'),
        ('', '-device e1000-82545em,mac=52:54:00:00:02:02'),
        ('', '-device pcnet,mac=52:54:00:00:02:03'),
        ('', '-device ne2k_pci,mac=52:54:00:00:02:04'),
        ('', '-device ne2k_isa,mac=52:54:00:00:02:05'),
        ('', '-device vmxnet3,mac=52:54:00:00:02:06'),
        ('', '-device i82550,mac=52:54:00:00:02:07'),
        ('', '-device tulip,mac=52:54:00:00:02:08'),
        ('', '-device piix3-usb-uhci,id=uhci'),
        ('', '-device usb-tablet,bus=uhci.0,serial=1'),
        ('', '-device usb-ehci,id=ehci'),
        ('', f'-blockdev null-co,node-name=disk0,size={DISK},read-zeroes=on'),
        ('', '-device usb-storage,bus=ehci.0,drive=disk0,serial=disk0'),
        ('', '-device qemu-xhci,id=xhci'),
        ('', '-device usb-kbd,bus=xhci.0 -device usb-ccid,bus=xhci.0'),
        ('', '-device nec-usb-xhci,id=nec'),
        ('', '-device usb-mouse,bus=nec.0 -device usb-bot,bus=nec.0'),
        ('', '-device pci-ohci,id=ohci -device usb-hub,bus=ohci.0'),
        ('', '-device intel-hda'),
        ('', '-device hda-duplex,audiodev=sound'),
        ('', '-device hda-micro,audiodev=sound'),
        ('', '-device ich9-intel-hda -device AC97,audiodev=sound'),
        ('', '-device ES1370,audiodev=sound'),
        ('', '-device sb16,audiodev=sound -device gus,audiodev=sound'),
        ('', '-device cs4231a,audiodev=sound'),
        ('', '-device adlib,audiodev=sound'),
        ('', '-serial null -serial null -parallel null'),
        ('', '-chardev null,id=char0'),
        ('', '-device pci-serial,chardev=char0 -device pci-serial-4x'),
        ('', '-drive if=floppy,driver=null-co,size=1474560,read-zeroes=on'),
    ],

    # Disks, bridges, displays and what watches over the machine.
    'board': [
        ('', f'-drive if=ide,index=0,driver=null-co,size={DISK}'),
        ('', f'-drive if=ide,index=2,driver=null-co,size={DISK},'
             'media=cdrom'),
        ('', f'-blockdev null-co,node-name=disk0,size={DISK},read-zeroes=on'),
        ('', f'-blockdev null-co,node-name=disk1,size={DISK},read-zeroes=on'),
        ('', f'-blockdev null-co,node-name=disk2,size={DISK},read-zeroes=on'),
        ('', f'-blockdev null-co,node-name=disk3,size={DISK},read-zeroes=on'),
        ('', f'-blockdev null-co,node-name=disk4,size={DISK},read-zeroes=on'),
        ('', '-device lsi53c895a,id=lsi'),
        ('', '-device scsi-hd,bus=lsi.0,drive=disk0,serial=disk0'),
        ('', '-device megasas,id=megasas'),
        ('', '-device scsi-cd,bus=megasas.0,drive=disk1,serial=disk1'),
        ('', '-device megasas-gen2 -device mptsas1068 -device pvscsi'),
        ('', '-device am53c974 -device dc390'),
        ('', '-device ich9-ahci,id=ahci'),
        ('', '-device ide-hd,bus=ahci.0,drive=disk2,serial=disk2'),
        ('', '-device ide-cd,bus=ahci.1,drive=disk3,serial=disk3'),
        ('', '-device sdhci-pci -device sd-card,drive=disk4'),
        ('', '-device i6300esb -device ib700'),
        ('', '-device pvpanic -device pvpanic-pci'),
        ('', '-device ipmi-bmc-sim,id=bmc0 -device isa-ipmi-kcs,bmc=bmc0'),
        ('', '-device ipmi-bmc-sim,id=bmc1 -device pci-ipmi-bt,bmc=bmc1'),
        ('', '-device ipmi-bmc-sim,id=bmc2 -device smbus-ipmi,bmc=bmc2'),
        (FW_CFG_FILES, f'-device vmgenid,guid={GENERATION_ID}'),
        (FW_CFG_FILES, '-device vmcoreinfo'),
        ('', '-device bochs-display -device cirrus-vga'),
        ('', '-device secondary-vga -device ati-vga'),
        (SECOND_VGA, '-device vmware-svga'),
        ('', '-device tpci200'),
        ('', '-device pci-bridge,id=bridge,chassis_nr=1'),
        ('', '-device pci-testdev,bus=bridge,addr=1'),
        ('', '-device i82801b11-bridge'),
        ('q35', '-device pcie-root-port,id=root0,chassis=2'),
        ('q35', '-device pcie-pci-bridge,bus=root0'),
        ('q35', '-device ioh3420,id=root1,chassis=3'),
        ('q35', '-device x3130-upstream,bus=root1,id=up'),
        ('q35', '-device xio3130-downstream,bus=up,chassis=4'),
        ('q35', '-device intel-iommu'),
        ('', '-object memory-backend-ram,id=ram0,size=4M'),
        ('', '-device ivshmem-plain,memdev=ram0,master=on'),
        ('', '-object memory-backend-ram,id=ram1,size=4M'),
        ('', '-device acpi-erst,memdev=ram1'),
        (MEMORY_HOTPLUG, '-object memory-backend-ram,id=ram2,size=16M'),
        (MEMORY_HOTPLUG, '-device pc-dimm,memdev=ram2'),
        (NVDIMM, '-object memory-backend-ram,id=ram3,size=16M'),
        (NVDIMM, '-device nvdimm,memdev=ram3'),
        # Last, or what follows without a bus is plugged into them.
        ('i440fx', '-device pxb,bus_nr=100'),
        ('q35', '-device pxb-pcie,bus_nr=100'),
    ],
}


def _fits(machine, condition):
    for word in condition.split():
        if word[0].isdigit():
            if release(machine) < tuple(map(int, word.split('.'))):
                return False
        elif word in ('i440fx', 'q35') and family(machine) != word:
            return False
    return True


def arguments(machine, name):
    """QEMU's arguments for a machine type with one of SETS plugged in."""
    hotplug = _fits(machine, MEMORY_HOTPLUG)
    plugged = [word for condition, options in SETS[name]
               if _fits(machine, condition) for word in options.split()]
    memory = '32M,slots=4,maxmem=4G' if hotplug else '32M'
    return [*FIXED, '-m', memory, *plugged]


def machine_option(machine, name):
    """What -machine is given, for that set."""
    nvdimm = any('nvdimm' in condition and _fits(machine, condition)
                 for condition, _ in SETS[name])
    return f'{machine},nvdimm=on' if nvdimm else machine
