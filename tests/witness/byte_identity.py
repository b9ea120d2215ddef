# SPDX-License-Identifier: GPL-2.0-or-later
"""Version 3 is carved in stone: what our QEMU sends for a machine type that
the distribution's QEMU has is what that one sends, byte for byte.

Both binaries run each machine type with each set of devices, as it is after a
reset and after its devices were stirred, and migrate it into a file.  For the
machine types that only ours has, told to speak version 3, the distribution's
binary runs the type whose hardware they have.
"""

import concurrent.futures
import contextlib
import os
import socket
import struct
import tempfile
import threading

from harness.qemu import (BUILT, STOCK, WHOLE, Qemu, tempdir,
                          wait_migration)
from harness.tap import Tap, check
from witness import machines, multifd, stream3
from witness.qtest import Qtest
from witness.stir import stir

# Some devices send memory that they never wrote to.  With this it is filled
# with the same bytes each time, by the C library or by a sanitizer.
FILL_HEAP = {
    'GLIBC_TUNABLES': 'glibc.malloc.perturb=165:glibc.malloc.tcache_count=0',
    'ASAN_OPTIONS': 'detect_leaks=0:malloc_fill_byte=90:'
                    f'max_malloc_fill_size={1 << 30}',
}

NAMES = ('the distribution', 'ours')

# What a destination says on the return path when it has no more to say.
RETURN_PATH_SHUT = struct.pack('>HHI', 1, 4, 0)

# What a stream of some machine type must have had in it, or the sets of
# devices and the stirring have lost what they are for.
SUBSECTIONS = """
    configuration/capabilities
    ICH9LPC/rst_cnt ICH9LPC/smi_feat PIIX3/rcr
    cpu/poll_control_msr e1000/full_mac_state e1000/mit_state
    e1000/tx_tso_state
    fdc/reset_sensei fdrive/media_rate fdrive/perpendicular
    fw_cfg/acpi_mr fw_cfg/dma hda-audio-stream/buffer hpet/offset
    ich9_pm/cpuhp ich9_pm/memhp ich9_pm/pcihp ich9_pm/tco
    piix4_pm/cpuhp piix4_pm/memhp
    ide_drive/atapi/gesn_state ide_drive/pio_state ide_drive/tray_state
    pckbd/extended_state pckbd_outport ps2kbd/command_reply_queue
    ps2kbd/ledstate pvscsi/pcie sd-card/ocr-state
    serial/fifo_timeout_timer serial/recv_fifo serial/thr_ipending
    timer/icount virtio-balloon-device/page-poison
    virtio/64bit_features virtio/broken virtio/extra_state virtio/ringsize
    virtio/started virtio/virtqueues virtio_pci/modern_state
    vmxnet3/mcast_list
""".split()

# Ways to migrate that change what is sent: name, options, capabilities.
VARIANTS = [
    ('with instructions counted', ['-icount', 'shift=3'], {}),
    ('with all features of a CPU', ['-cpu', 'max'], {}),
    ('without footers', ['-global', 'migration.send-section-footer=off'], {}),
    ('without configuration', ['-global', 'migration.send-configuration=off'],
     {}),
    ('with xbzrle', [], {'xbzrle': True}),
    ('with the UUID', [], {'validate-uuid': True}),
    ('with shared memory left out', [], {'x-ignore-shared': True}),
]


@contextlib.contextmanager
def machine(binary, name, devices, *options, stirred=True):
    """A stopped machine of that type, ready to be migrated."""
    with Qtest() as qtest, Qemu(
            binary, *machines.arguments(name, devices), *qtest.args(),
            *options, *(WHOLE if name.endswith('-v4') else ()),
            machine=machines.machine_option(name, devices),
            defaults=True, pass_fds=[qtest.theirs.fileno()],
            name=name) as vm:
        qtest.started()
        if stirred:
            stir(qtest, vm)
        yield vm


def sent(work, binary, name, devices, *options, caps=None, stirred=True):
    """What a binary sends for a machine type with a set of devices."""
    path = work / f'{threading.get_ident()}.stream'
    with machine(binary, name, devices, *options, stirred=stirred) as vm:
        if caps:
            vm.set_caps(**caps)
        vm.qmp('migrate', uri=f'exec:cat >{path}')
        wait_migration(vm)
    data = path.read_bytes()
    path.unlink()
    return data


def sent_on_sockets(work, binary, name, devices, count, **caps):
    """What is sent on each of count connections; the main one first."""
    path = f'{tempfile.mkdtemp(dir=work)}/sock'
    with socket.socket(socket.AF_UNIX) as listener, \
            machine(binary, name, devices) as vm:
        listener.bind(path)
        listener.listen()
        listener.settimeout(30)
        vm.set_caps(**caps)
        vm.set_params(multifd_channels=1)
        vm.qmp('migrate', uri=f'unix:{path}')
        with concurrent.futures.ThreadPoolExecutor(count) as readers:
            parts = [readers.submit(_drain, listener.accept()[0],
                                    'postcopy_ram' in caps)
                     for _ in range(count)]
            wait_migration(vm)
            received = [part.result() for part in parts]
    return sorted(received, key=lambda data: data[:8] != stream3.HEADER)


def _drain(connection, answer):
    """All that comes.  A source that has asked for answers waits for one at
    the end: that there are no more."""
    data = bytearray()
    with connection:
        connection.settimeout(60)
        while chunk := connection.recv(1 << 20):
            data += chunk
            if answer and stream3.is_whole(data):
                connection.sendall(RETURN_PATH_SHUT)
    return bytes(data)


def same(one, other):
    """Whether two streams are one, but for what the clock decides."""
    return one == other or stream3.unsliced(one) == stream3.unsliced(other)


class Witness:
    def __init__(self, work):
        self.work = work
        self.pool = concurrent.futures.ThreadPoolExecutor(2)
        self.bytes = 0
        self.streams = 0
        self.missing = set(SUBSECTIONS)

    def both(self, send, names, *rest, our_options=(), **how):
        """What send() returns for each binary; both run at once."""
        stock, ours = names
        pair = [self.pool.submit(send, self.work, STOCK, stock, *rest, **how),
                self.pool.submit(send, self.work, BUILT, ours, *rest,
                                 *our_options, **how)]
        return [future.result() for future in pair]

    def compare(self, name, devices, *options, ours=None, our_options=(),
                **how):
        """Compares both binaries on one machine; ours: the name of the type
        that ours runs instead."""
        one, other = self.both(sent, (name, ours or name), devices, *options,
                               our_options=our_options, **how)
        self.streams += 1
        self.bytes += len(one)
        self.missing = {sub for sub in self.missing
                        if not stream3.has_subsection(one, sub)}
        if not same(one, other):
            raise AssertionError(
                f'set "{devices}", {how or ""}: '
                + self.explain(one, other, name, devices, *options, **how))

    def explain(self, one, other, name, devices, *options, **how):
        layout = stream3.description(one)
        if layout is None:
            layout = stream3.description(sent(
                self.work, STOCK, name, devices, *options,
                '-machine', 'suppress-vmdesc=off', **how))
        return stream3.tell_difference(
            stream3.unsliced(one), stream3.unsliced(other), layout, NAMES)

    def machine_type(self, name, **where):
        for devices in machines.SETS:
            for stirred in (False, True):
                self.compare(name, devices, stirred=stirred, **where)

    def covered(self):
        check(not self.missing, 'no stream had the subsections '
              + ', '.join(sorted(self.missing)))

    def names_the_place(self, name, devices):
        """The witness itself: one changed byte is found and named."""
        data = sent(self.work, STOCK, name, devices)
        layout = stream3.description(data)
        for wanted in ('ram (part), block pc.ram', 'section serial 0, state',
                       'subsection fw_cfg/dma', 'the configuration',
                       'section slirp 0, data', 'the end of the stream'):
            place = next(place for place in stream3.places(data, layout)
                         if wanted in place.name)
            at = place.end - 1
            changed = bytearray(data)
            changed[at] ^= 0x10
            said = stream3.tell_difference(data, bytes(changed), layout,
                                           NAMES)
            check(f'offset {at} ' in said and place.name in said,
                  f'{place.name} at {at} was not named: {said}')

    def on_sockets(self, name, devices, count, **caps):
        """The same over sockets, where a destination can answer."""
        one, other = self.both(sent_on_sockets, (name, name), devices,
                               count, **caps)
        check(same(one[0], other[0]), stream3.tell_difference(
            one[0], other[0], stream3.description(one[0]), NAMES))
        for number in range(1, count):
            said = [list(multifd.pages(data[number]))
                    for data in (one, other)]
            for at, (left, right) in enumerate(zip(*said)):
                check(left == right, f'item {at} of the channel of the pages: '
                      f'the distribution {left!r:.300}, ours {right!r:.300}')
            check(len(said[0]) == len(said[1]), 'the channel of the pages: '
                  f'{len(said[0])} items, ours {len(said[1])}')


def types_of(binary):
    with Qemu(binary, machine='none', accel=None) as vm:
        return machines.machine_types(vm)


def in_order(names):
    return sorted(names, key=lambda name: (machines.family(name),
                                           machines.release(name), name))


def main():
    os.environ.update(FILL_HEAP)
    with tempdir() as work, Tap('version 3 is byte for byte what it was') as t:
        witness = Witness(work)
        stock, built = types_of(STOCK), types_of(BUILT)
        t.case('every PC machine type of the distribution is in ours',
               lambda: check(stock and stock <= built,
                             f'missing: {stock - built}'))
        for name in in_order(stock & built):
            t.case(name, witness.machine_type, name)
        for name in in_order(built - stock):
            t.case(f'{name} speaking version 3', witness.machine_type,
                   machines.model(name), ours=name,
                   our_options=['-global', 'migration.stream-version=3'])
        for name in ('pc-i440fx-7.2', 'pc-q35-7.2'):
            for what, options, caps in VARIANTS:
                t.case(f'{name} {what}', witness.compare, name, 'bare',
                       *options, caps=caps)
            t.case(f'{name} with postcopy advised', witness.on_sockets, name,
                   'bare', 1, postcopy_ram=True)
            t.case(f'{name} with multifd', witness.on_sockets, name, 'bare',
                   2, multifd=True)
        t.case('a difference is found and its place named',
               witness.names_the_place, 'pc-q35-7.2', 'bare')
        if not t.chosen:
            t.case('the streams had what they are compared for',
                   witness.covered)
        t.diag(f'{witness.streams} pairs of streams, '
               f'{witness.bytes >> 20} MiB each side')


if __name__ == '__main__':
    main()
