# SPDX-License-Identifier: GPL-2.0-or-later
"""Migrations of guests as several tests of this suite do them.

Not a test: no TAP in here.
"""

import contextlib

from harness.guest import make_disk, run_guest
from harness.qemu import BUILT, WHOLE, Qemu, migrate, tempdir, wait_for
from harness.tap import check, equal

TLS = {'tls-creds': 'tls', 'tls-hostname': 'localhost'}
NO_BOOT = 'No bootable device'


def prepare(vms, caps=None, params=None):
    for vm in vms:
        if caps:
            vm.set_caps(**caps)
        if params:
            vm.set_params(**params)


class Pauses:
    """Counts how often a destination's postcopy has come to rest.  Its main
    loop may stand still until the rest of the guest's memory has come."""

    def __init__(self, vm):
        self.vm = vm
        self.count = 0

    def wait(self):
        self.count += 1
        wait_for(lambda: self.vm.stderr().count('Migration paused') >=
                 self.count, 30, lambda: f'no pause; {self.vm.says()}')

    def recover(self, uri):
        self.vm.qmp_oob('migrate-recover', uri=uri)


@contextlib.contextmanager
def linux_pair(source, destination, machine, uri=None, caps=None, params=None,
               src_args=(), dst_args=(), tls=False, **options):
    """The Linux guest at work in a source, and a destination that listens.

    source, destination   binaries
    uri                   what the destination listens at
    caps, params          set on both sides
    tls                   use the credentials 'tls', which are in the arguments

    Gives both, and the URI to migrate to.
    """
    with tempdir() as directory:
        disk = make_disk(directory / 'disk.qcow2')
        with run_guest(source, disk, directory / 'before', *src_args,
                       machine=machine, **options) as src, \
             run_guest(destination, disk, directory / 'after', *dst_args,
                       machine=machine, incoming='defer', **options) as dst:
            prepare((src, dst), caps, {**(params or {}), **TLS} if tls
                    else params)
            dst.qmp('migrate-incoming', uri=uri or 'tcp:127.0.0.1:0')
            src.console.wait_booted()
            src.console.wait_generations(1)
            yield src, dst, uri or dst.listens_at()


def live(source, destination, machine, **options):
    """Migrates the Linux guest while it works, and waits until it has checked
    all of its memory at the destination; options are those of linux_pair().

    Returns what query-migrate says on the source and on the destination.
    """
    with linux_pair(source, destination, machine, **options) as (src, dst,
                                                                 uri):
        info = migrate(src, uri)
        last = src.console.beats()[-1]
        dst.wait_status('running')
        dst.console.wait_beats(1)
        first = dst.console.beats()[0]
        check(0 <= first.number - last.number <= 25,
              f'the guest went from {last} to {first}')
        dst.console.wait_generations(2)
        src.console.check()
        equal(src.status(), 'postmigrate', 'status of the source')
        return info, dst.qmp('query-migrate')


class Firmware(Qemu):
    """A machine that has nothing to boot from; the firmware says so."""

    def __init__(self, binary, *args, log, **options):
        self.log = log
        super().__init__(binary, '-chardev', f'file,id=firmware,path={log}',
                         '-device', 'isa-debugcon,iobase=0x402,'
                         'chardev=firmware', *args, **options)

    def wait_up(self, times=1, timeout=60):
        """Waits until the firmware has come to its end that many times."""
        wait_for(lambda: self.log.exists() and
                 self.log.read_text(errors='replace').count(NO_BOOT) >= times,
                 timeout, lambda: f'{self.name}: the firmware does not get '
                                  f'to its end; {self.says()}')


def record_stream(machine, directory, *args, memory='16M'):
    """The bytes of a stopped machine's stream, by way of a file, with all that
    could be in it."""
    path = directory / f'{machine}.stream'
    with Qemu(BUILT, '-S', '-m', memory, *WHOLE, *args, machine=machine) as src:
        info = migrate(src, f'exec:cat > {path}')
        if 'stream' in info:
            size = info['stream']['bytes']
            wait_for(lambda: path.stat().st_size == size, 10,
                     lambda: f'{path.stat().st_size} of {size} bytes came')
    return path.read_bytes()
