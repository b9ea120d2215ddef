# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux test guest: how it is run, and its console.

It keeps rewriting and checking a block of its own memory, uses its disk, its
random number generator and its network, and says on its serial console how
it fares, about five times a second (tests/guest/memcheck.c):

    beat 57 gen 9 checked 34816 pages errors 0 uptime 12.31
"""

import collections
import os
import pathlib
import re
import subprocess

from harness.qemu import QEMU_IMG, ROOT, Qemu, wait_for

GUEST_DIR = pathlib.Path(os.environ.get('GUEST_DIR', f'{ROOT}/build/guest'))
VMLINUZ = GUEST_DIR / 'vmlinuz'
INITRAMFS = GUEST_DIR / 'initramfs.gz'

# Under TCG, on a machine that is busy with other tests.
BOOT_TIMEOUT = 180

BEAT = re.compile(r'beat (\d+) gen (\d+) checked (\d+) pages '
                  r'errors (\d+) uptime ([\d.]+)')
TROUBLE = re.compile(r'GUEST MEMORY DAMAGED|GUEST FAULT|Kernel panic|BUG:|'
                     r'Oops|general protection|I/O error|soft lockup|'
                     r'rcu_sched self-detected')

# The distribution's QEMU loses what a guest writes while it syncs the dirty
# bitmap by words (interop/dirty_sync.py).  With memory of an odd size it goes
# page by page.
STOCK_SOURCE_MEMORY = '262152K'

Beat = collections.namedtuple('Beat', 'number gen checked errors uptime')


def make_disk(path, size='64M'):
    """Makes the guest's qcow2 image."""
    subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', str(path), size],
                   check=True, timeout=60, stdin=subprocess.DEVNULL)
    return path


def guest_args(disk, console, memory='256M', check_mib=16):
    """QEMU's arguments for the guest; both sides of a migration take the
    same, but for the file that the console is written to.  disk: None for a
    guest that has none."""
    pci = {'net': '0x10', 'disk': '0x11', 'rng': '0x12', 'usb': '0x13'}
    return [
        '-m', memory,
        '-kernel', VMLINUZ, '-initrd', INITRAMFS,
        '-append', 'console=ttyS0 quiet panic=-1 tsc=unstable '
                   'no_timer_check random.trust_cpu=on mitigations=off '
                   f'memcheck={check_mib}'
                   + ('' if disk else ' without=disk'),
        '-chardev', f'file,id=console,path={console}',
        '-serial', 'chardev:console',
        '-netdev', 'user,id=net',
        '-device', 'virtio-net-pci,netdev=net,romfile=,'
                   f'mac=52:54:00:12:34:56,addr={pci["net"]}',
        *(['-blockdev', f'qcow2,node-name=disk,file.driver=file,'
                        f'file.filename={disk}',
           '-device', f'virtio-blk-pci,drive=disk,addr={pci["disk"]}']
          if disk else []),
        '-object', 'rng-random,id=rng,filename=/dev/urandom',
        '-device', f'virtio-rng-pci,rng=rng,addr={pci["rng"]}',
        '-device', f'qemu-xhci,id=usb,addr={pci["usb"]}',
        '-device', 'usb-tablet,bus=usb.0,port=1',
        '-no-reboot',
    ]


def run_guest(binary, disk, console, *args, memory='256M', check_mib=16,
              **kwargs):
    """A Qemu with the guest in it; its console is in .console."""
    for path in (VMLINUZ, INITRAMFS):
        if not path.exists():
            raise FileNotFoundError(f'{path}: not made yet; see tests/guest')
    vm = Qemu(binary, *guest_args(disk, console, memory, check_mib), *args,
              **kwargs)
    vm.console = GuestConsole(console, vm)
    return vm


class GuestConsole:
    """Reads what the guest has written to its serial console."""

    def __init__(self, path, vm):
        self.path = pathlib.Path(path)
        self.vm = vm

    def text(self):
        try:
            return self.path.read_text(errors='replace').replace('\r', '')
        except FileNotFoundError:
            return ''

    def beats(self):
        """All heartbeats, in the order in which they came."""
        return [Beat(*map(int, match.groups()[:4]), float(match.group(5)))
                for match in BEAT.finditer(self.text())]

    def check(self):
        """Raises when the guest has found anything wrong."""
        trouble = TROUBLE.search(self.text())
        bad = next((b for b in self.beats() if b.errors), None)
        if trouble or bad:
            raise AssertionError(f'the guest in {self.vm.name} found a fault '
                                 f'({trouble.group() if trouble else bad}); '
                                 f'{self._tail()}')

    def wait_beats(self, count=3, timeout=30):
        """Waits for that many more heartbeats, returns the last of them."""
        seen = len(self.beats())

        def more():
            self.check()
            if not self.vm.alive():
                raise RuntimeError(f'{self.vm.name} has ended; '
                                   f'{self.vm.says()}')
            return len(self.beats()) >= seen + count

        wait_for(more, timeout, lambda: (
            f'no {count} more heartbeats from the guest in {self.vm.name}; '
            f'{self._tail()}; {self.vm.says()}'))
        return self.beats()[-1]

    def wait_booted(self, timeout=BOOT_TIMEOUT):
        """Waits for the first heartbeats of a guest that has been started."""
        return self.wait_beats(2, timeout)

    def wait_generations(self, count=1, timeout=60):
        """Waits until the guest has verified all of its block that many times
        more: after a migration, this is its verdict on its memory."""
        first = self.wait_beats(1, timeout)
        wait_for(lambda: (self.check() or
                          self.beats()[-1].gen > first.gen + count), timeout,
                 lambda: f'the guest in {self.vm.name} did not get through '
                         f'its memory; {self._tail()}; {self.vm.says()}')
        return self.beats()[-1]

    def _tail(self):
        lines = self.text().splitlines()[-12:]
        return '\n'.join(['its console ends in:', *lines])
