# SPDX-License-Identifier: GPL-2.0-or-later
"""What is known of devices: where two loads of one state differ by right, and
what the base loses (docs/devel/migration-v4/findings.rst has the evidence).
"""

import re
import typing

# (section, field): decided by the host's clock, not by the state
BY_HOST = [
    ('timer', 'cpu_ticks_offset|cpu_clock_offset'),
]


class Lost(typing.NamedTuple):
    """device, what: patterns; versions: of the stream, in which it is lost"""
    device: str
    what: str
    versions: tuple
    why: str


# Ends what was found in one of the older versions of a device
OLDER = ', at an older version'
BOTH, IN_3 = (3, 4), (3,)
# Where the interrupt line of a PCI function shows
LINE = (r'PCIBUS: irq_count.*|.*/PIIX3: pci_irq_levels.*|'
        r'.*_pci: dev/(config|irq_state).*|register configuration\+0x4')
LOST = [
    Lost('sdhci-pci|sd-card', '.*', IN_3,
         'the PCI function is not in the state'),
    Lost('am53c974|dc390', r'register esp-io\+0x(38|70)|.*: later', IN_3,
         'SBAC, and whether the high byte of the counter was written'),
    Lost('acpi-erst', '.*', IN_3, 'the PCI function is not in the state'),
    Lost('kvaser_pci', r'register kvaser_pci-s5920\+0x3[8b]', IN_3,
         'whether it interrupts'),
    Lost('board/i8257.*', r'register dma-.*', IN_3, 'the status register'),
    Lost('.*', 'dma: subsections: later', IN_3,
         'the status register of the DMA controller'),
    Lost('vmxnet3', r'register vmxnet3-b1\+0x(28|30)|.*/vmxnet3: '
         'subsections/vmxnet3/mac.*', IN_3,
         'the MAC address that the guest has set'),
    Lost('hda-.*', 'hda-audio: st.*/buffer/(buft_start|[rw]pos).*', BOTH,
         'a stream that runs begins with an empty buffer'),
    Lost('isa-(cirrus-)?vga', '.*', IN_3, 'what is beside it is saved'),
    Lost('adlib|virtio-pmem-pci', '.*', IN_3, 'it has no state at all'),
    Lost('ati-vga|edu|pci-testdev|isa-applesmc', '.*', BOTH,
         'it has no state at all'),
    Lost('intel-hda|ich9-intel-hda|hda-.*',
         r'.*/intel-hda: int_sts.*|register intel-hda\+0x24', BOTH,
         'what is pending is computed anew, as by any write'),
    Lost('board/hpet', 'hpet: hpet_counter: in another combination', (4,),
         'without hpet/offset the counter follows the clock'),
    Lost('board/hpet', r'register hpet\+0x1[67].', BOTH,
         'a timer behind the last one'),
    Lost('(ich9-usb-ehci.|usb-ehci)', r'register operational\+0x.*', BOTH,
         'registers that the specification reserves'),
    Lost('.*uhci.*', r'(.*/uhci: (expire_time|frnum): later|'
         r'register uhci\+0x[4-7]), at an older version', (4,),
         'version 1 has no time of the next frame: one begins'),
    Lost('(pcm|mioe)3680_pci', LINE, IN_3, 'whether it interrupts'),
    Lost('(pcm|mioe)3680_pci', f'({LINE}): in another combination', (4,),
         'without .../irq the second controller decides'),
    Lost('board/mc146818rtc', 'mc146818rtc: .*: later, at an older version',
         (4,), 'version 1 has no time of the last second: one begins'),
    Lost('floppy|.*isa-fdc', 'fdc: state/sra: later', BOTH,
         'that an empty drive was selected, in a register that no port shows'),
    Lost('pxb(-pcie)?', r'register configuration\+.*', BOTH,
         'the command register of a function that has no other state'),
]


def by_host(section, field):
    return any(re.fullmatch(a, section) and re.fullmatch(b, field)
               for a, b in BY_HOST)


def lost(device, version, what):
    """The Lost that a finding is about, or None."""
    always = what.removesuffix(OLDER)
    for one in LOST:
        if (version in one.versions and re.fullmatch(one.device, device) and
                (re.fullmatch(one.what, what) or
                 re.fullmatch(one.what, always))):
            return one
    return None
