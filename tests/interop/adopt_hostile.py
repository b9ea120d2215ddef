#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a stream cannot make of a QEMU that becomes the machine that arrives:
it opens, creates and connects to nothing that was not given or allowed.

Each kind of thing that leads to the host is in a machine that is made up.  A
file and two sockets wait for being touched: without trust they must not be,
and with it they must, or nothing would have been found out.
"""

import contextlib
import copy
import ctypes
import json
import os
import pathlib
import socket
import struct

from harness.qemu import BUILT, Qemu, tempdir, wait_for
from harness.qmp import QmpError
from harness.tap import Tap, check
from interop import talk, wire
from interop.adopting import adopter

PATIENCE = 60
FILE, SOCKET, NOTHING = 'file', 'socket', None
IN_OPEN, IN_CREATE, IN_NONBLOCK = 0x20, 0x100, 0o4000
EVENT = struct.Struct('iIII')


class Marks:
    """A directory in which nothing may be opened or created, and two sockets
    that nobody may connect to."""

    def __init__(self, directory):
        self.directory = directory / 'mark'
        self.directory.mkdir()
        self.file = self.directory / 'file'
        self.file.write_bytes(bytes(1 << 20))
        self.script = self.directory / 'script'
        self.script.write_text('#!/bin/sh\nexit 1\n')
        self.script.chmod(0o755)
        self.unix = directory / 'listens'
        self.sockets = [socket.socket(socket.AF_UNIX), socket.socket()]
        self.sockets[0].bind(str(self.unix))
        self.sockets[1].bind(('127.0.0.1', 0))
        self.port = self.sockets[1].getsockname()[1]
        for each in self.sockets:
            each.listen()
            each.setblocking(False)
        libc = ctypes.CDLL(None, use_errno=True)
        self.watch = libc.inotify_init1(IN_NONBLOCK)
        check(self.watch >= 0 and libc.inotify_add_watch(
            self.watch, os.fsencode(self.directory),
            IN_OPEN | IN_CREATE) >= 0, 'no inotify')

    def touched(self):
        """What was, since this was asked last."""
        found = set()
        with contextlib.suppress(BlockingIOError):
            data = os.read(self.watch, 1 << 16)
            while data:
                size = EVENT.unpack_from(data)[3]
                name = data[EVENT.size:EVENT.size + size].rstrip(b'\0')
                # Who looks at a directory opens no file in it.
                found |= {FILE} if name else set()
                data = data[EVENT.size + size:]
        for each in self.sockets:
            with contextlib.suppress(BlockingIOError):
                each.accept()[0].close()
                found.add(SOCKET)
        return found

    def fill(self, value):
        """A value with the marks in the places of their names."""
        return json.loads(json.dumps(value)
                          .replace('@file', str(self.file))
                          .replace('@new', str(self.directory / 'new'))
                          .replace('@script', str(self.script))
                          .replace('@dir', str(self.directory))
                          .replace('@unix', str(self.unix))
                          .replace('@port', str(self.port)))


def device(driver, id='hostile', **host):
    host = {name.replace('_', '-'): value for name, value in host.items()}
    return {'path': f'/hostile/{id}', 'driver': driver, 'id': id,
            'origin': 'user', 'properties': {}, 'host-properties': host,
            'set': list(host)}


def backend(kind, type, host, id='b'):
    return {'kind': kind, 'id': id, 'type': type, 'guest': {}, 'host': host}


def option(name, value):
    return {'board.options': [{'option': name, 'value': value}]}


def block(type, host, id='b'):
    return {'devices': [device('virtio-blk-pci', drive=id)],
            'backends': [backend('block', type, host, id)]}


def net(type, host):
    return {'devices': [device('virtio-net-pci', netdev='b', romfile='')],
            'backends': [backend('net', type, host)]}


def chardev(type, host, id='b'):
    return {'devices': [device('isa-debugcon', chardev=id)],
            'backends': [backend('chardev', type, host, id)]}


def object_(type, host, *devices):
    return {'devices': [*devices, device('virtio-rng-pci', rng='b')],
            'backends': [backend('object', type, host)]}


def board(**properties):
    properties = {name.replace('_', '-'): value
                  for name, value in properties.items()}
    return {'board.host-properties': properties,
            'board.set': list(properties)}


def default(driver, property, value):
    return {'board.globals': [{'driver': driver, 'property': property,
                               'value': value}]}


AT_FILE = {'driver': 'file', 'filename': '@file'}
AT_PORT = {'type': 'inet', 'host': '127.0.0.1', 'port': '@port'}
INET = {'addr': {'type': 'inet', 'data': {'host': '127.0.0.1',
                                          'port': '@port'}}, 'server': False}

# name: (what is in the machine, what it leads to)
KINDS = {
    # block
    'file': (block('file', {'filename': '@file'}), FILE),
    'qcow2 on a file': (block('qcow2', {'file': AT_FILE}), FILE),
    'raw on a file': (block('raw', {'file': AT_FILE}), FILE),
    'backing file': (block('qcow2', {'file': {'driver': 'null-co'},
                                     'backing': AT_FILE}), NOTHING),
    'throttle on a file': (
        {'devices': [device('virtio-blk-pci', drive='b')],
         'backends': [backend('object', 'throttle-group', {}, 'g'),
                      backend('block', 'throttle',
                              {'throttle-group': 'g', 'file': AT_FILE})]},
        FILE),
    'copy-on-read on a file': (block('copy-on-read', {'file': AT_FILE}), FILE),
    'blkdebug': (block('blkdebug', {'config': '@file', 'image': {
        'driver': 'null-co'}}), FILE),
    'vvfat': (block('vvfat', {'dir': '@dir'}), NOTHING),
    'nbd over tcp': (block('nbd', {'server': AT_PORT}), SOCKET),
    'nbd over unix': (block('nbd', {'server': {'type': 'unix',
                                               'path': '@unix'}}), SOCKET),
    'file that claims to be null-co': (
        block('null-co', {'driver': 'file', 'filename': '@file'}), NOTHING),
    'null-co with a file': (block('null-co', {'file': AT_FILE}), NOTHING),
    'null-co with a file inside': (block('null-co', {'cache': AT_FILE}),
                                   NOTHING),
    'null-co with a file in its name': (
        block('null-co', {}, 'b,file=@file'), NOTHING),
    'no medium, but a file': (block('none', {'file': '@file'}), NOTHING),
    'unknown driver': (block('new', {'filename': '@file'}), NOTHING),
    'pseudo protocol': (block('raw', {
        'file': {'driver': 'file', 'filename': 'json:{"driver":"file",'
                                               '"filename":"@file"}'}}),
        NOTHING),
    'drive': (option('drive', 'if=ide,bus=0,unit=0,id=d,file=@file'), FILE),
    'drive with a name that ends': (
        {**option('drive', 'if=ide,bus=0,unit=0,id=d'),
         'backends': [backend('block', 'null-co', {
             'cache': {'direct=on,file': '@file'}}, 'd')]}, NOTHING),
    'drive with a comma': (
        option('drive', 'if=ide,bus=0,unit=0,id=d,,,file=@file'), NOTHING),
    # character devices
    'chardev file': (chardev('file', {'out': '@file'}), FILE),
    'chardev new file': (chardev('file', {'out': '@new'}), FILE),
    'chardev pipe': (chardev('pipe', {'device': '@file'}), FILE),
    'chardev over tcp': (chardev('socket', INET), SOCKET),
    'chardev over unix': (chardev('socket', {
        'addr': {'type': 'unix', 'data': {'path': '@unix'}},
        'server': False}), SOCKET),
    'chardev serial': (chardev('serial', {'device': '@file'}), FILE),
    'chardev with a log': (chardev('null', {'logfile': '@new'}), FILE),
    'ringbuf with a log': (chardev('ringbuf', {'logfile': '@new'}), FILE),
    'chardev pty': (chardev('pty', {}), NOTHING),
    'chardev stdio': (chardev('stdio', {}), NOTHING),
    'mux on a file': (
        {'devices': [device('isa-debugcon', chardev='m')],
         'backends': [backend('chardev', 'file', {'out': '@file'}),
                      backend('chardev', 'mux', {'chardev': 'b'}, 'm')]},
        FILE),
    'chardev with a log in its name': (
        chardev('null', {}, 'b,logfile=@new'), NOTHING),
    'chardev with a log in its type': (
        chardev('null,logfile=@new', {}), NOTHING),
    'serial file': (option('serial', 'file:@new'), FILE),
    'serial tcp': (option('serial', 'tcp:127.0.0.1:@port'), SOCKET),
    'serial with a log': (option('serial', 'chardev:b,logfile=@new'),
                          NOTHING),
    'serial to nothing known': (option('serial', 'chardev:monitor'), NOTHING),
    'parallel': (option('parallel', 'file:@new'), FILE),
    # network
    'tap': (net('tap', {'script': '@script', 'ifname': 'hostile0'}), NOTHING),
    'net over tcp': (net('socket', {'connect': '127.0.0.1:@port'}), SOCKET),
    'stream over unix': (net('stream', {'addr': {
        'type': 'unix', 'path': '@unix'}, 'server': False}), SOCKET),
    'user network': (net('user', {'tftp': '@dir'}), NOTHING),
    'user network and a command': (net('user', {'guestfwd': [
        {'str': 'tcp:10.0.2.100:1-cmd:@script'}]}), NOTHING),
    'bridge': (net('bridge', {'helper': '@script'}), FILE),
    'hubport with a script': (net('hubport', {'hubid': 1,
                                              'script': '@script'}), NOTHING),
    'nic': (option('nic', 'tap,script=@script'), NOTHING),
    # objects
    'memory file': (
        {**object_('memory-backend-file', {'mem-path': '@file',
                                           'size': 1 << 20}),
         **board(memory_backend='b', memory={'size': 1 << 20})}, FILE),
    'memory that has a path': (
        object_('memory-backend-ram', {'mem-path': '@file',
                                       'size': 1 << 20}), NOTHING),
    'rng-random': (object_('rng-random', {'filename': '@file'}), FILE),
    'secret': (object_('secret', {'file': '@file'}), FILE),
    'filter-dump': (
        {'devices': [device('virtio-net-pci', netdev='n', romfile='',
                            filter='b')],
         'backends': [backend('net', 'hubport', {'hubid': 1}, 'n'),
                      backend('object', 'filter-dump',
                              {'netdev': 'n', 'file': '@new'})]}, FILE),
    'authz-list-file': (object_('authz-list-file', {'filename': '@file'}),
                        NOTHING),
    'tls-creds': (object_('tls-creds-psk', {'dir': '@dir',
                                            'endpoint': 'client'}), NOTHING),
    'input-linux': (object_('input-linux', {'evdev': '@file'}), FILE),
    'unknown object': (object_('new', {'path': '@file'}), NOTHING),
    # others
    'tpm': ({'devices': [device('tpm-tis', tpmdev='b')],
             'backends': [backend('tpm', 'passthrough', {
                 'path': '@file', 'cancel-path': '@file'})]}, FILE),
    'file system': ({'devices': [device('virtio-9p-pci', fsdev='b',
                                        mount_tag='x')],
                     'backends': [backend('fs', 'local', {
                         'path': '@dir', 'security_model': 'none'})]},
                    NOTHING),
    'sound file': ({'devices': [device('AC97', audiodev='b')],
                    'backends': [backend('audio', 'wav', {'path': '@new'})]},
                   FILE),
    'sound card of the host': ({'devices': [device('AC97')]}, NOTHING),
    'sound with a driver in its model': (
        {**option('audio', 'model=ac97,id=b,driver=wav,path=@new'),
         'backends': [backend('audio', 'none', {})]}, NOTHING),
    # devices
    'romfile': ({'devices': [device('e1000', romfile='@file')]}, FILE),
    'pcap': ({'devices': [device('qemu-xhci', 'usb'),
                          {**device('usb-tablet', pcap='@new'),
                           'bus': 'usb.0'}]}, FILE),
    'loader': ({'devices': [device('loader', file='@file')]}, NOTHING),
    'vfio': ({'devices': [device('vfio-pci', host='00:02.0')]}, NOTHING),
    'vfio by its path': ({'devices': [device('vfio-pci', sysfsdev='@dir')]},
                         NOTHING),
    'usb-host': ({'devices': [device('usb-host', hostbus=1, hostaddr=1)]},
                 NOTHING),
    'usb-mtp': ({'devices': [device('usb-mtp', rootdir='@dir')]}, NOTHING),
    'input': ({'devices': [device('virtio-input-host-pci', evdev='@file')]},
              FILE),
    # the board
    'kernel': (board(kernel='@file'), FILE),
    'initrd': (board(kernel='/nonexistent', initrd='@file'), NOTHING),
    'dtb': (board(dtb='@file'), NOTHING),
    'dumpdtb': (board(dumpdtb='@new'), NOTHING),
    'firmware': (board(firmware='@file'), FILE),
    'a name that ends': (board(**{'vmport=on,firmware': '@file'}), NOTHING),
    'a name inside that ends': (board(memory={
        'size': 1 << 25, 'x=1,firmware': '@file'}), NOTHING),
    'a type that ends': ({'board.type': 'q35,firmware=@file'}, NOTHING),
    'the type incoming': ({'board.type': 'incoming'}, NOTHING),
    'smbios': (option('smbios', 'file=@file'), FILE),
    'smbios, inside': (option('smbios', 'type=11,path=@file'), FILE),
    'fw_cfg': (option('fw_cfg', 'name=opt/x,file=@file'), FILE),
    'acpitable': (option('acpitable', 'sig=XXXX,data=@file'), FILE),
    'option-rom': (option('option-rom', '@file'), FILE),
    'splash': (option('boot', 'menu=on,splash=@file'), FILE),
    'replay': (option('icount', 'shift=1,rr=record,rrfile=@new'), NOTHING),
    'a default': (default('e1000', 'romfile', '@file'), NOTHING),
    'a default with a comma': (
        default('e1000', 'mac', 'x,romfile=@file'), NOTHING),
    'xen': ({'board.accelerator': 'xen'}, NOTHING),
    'an accelerator that ends': ({'board.accelerator':
                                  'tcg,x=1 -option-rom @file'}, NOTHING),
    'a CPU': ({'cpu.model': 'qemu64', 'cpu.options':
               'vendor=@file,model-id=../@file -option-rom @file'}, NOTHING),
    'a CPU that ends': ({'cpu.model': 'qemu64,x'}, NOTHING),
    'help': ({'cpu.model': 'help'}, NOTHING),
    'numa': ({'board.numa': [{'type': 'node', 'nodeid': 0,
                              'memdev': '@file'}]}, NOTHING),
    **{f'the id {id!r}': ({'devices': [device('virtio-rng-pci', id)]}, NOTHING)
       for id in ('a,romfile=@file', '"', "';@script;'", '%s%n', '../@file',
                  '$(@script)', 'x" , "romfile": "@file', '/', 'a/b')},
    **{f'the bus {bus!r}': ({'devices': [
        {**device('virtio-rng-pci'), 'bus': bus}]}, NOTHING)
       for bus in ('', '/', '//', 'pcie.0//x', '@file', '%s%n', 'x' * 1000,
                   'main-system-bus/x/y', '"pcie.0')},
    **{f'the id {id!r} of a back end': (chardev('null', {}, id), NOTHING)
       for id in ('a,logfile=@new', '#x,logfile=@new', '%s%n', 'a/../b')},
    # options that are of no machine
    **{name: (option(name, value), NOTHING) for name, value in {
        'D': '@new', 'trace': 'enable=*,file=@new', 'pidfile': '@new',
        'writeconfig': '@new', 'readconfig': '@file', 'monitor': 'unix:@unix',
        'qmp': 'tcp:127.0.0.1:@port', 'vnc': '127.0.0.1:@port,reverse=on',
        'display': 'vnc=unix:@unix', 'gdb': 'tcp::@port', 'runas': 'nobody',
        'chroot': '@dir', 'sandbox': 'off', 'incoming': 'exec:@script',
        'loadvm': 'x', 'dump-vmstate': '@new', 'plugin': '@file',
        'usbdevice': 'disk:@file', 'L': '@dir', 'name': 'x',
        'add-fd': 'fd=3,set=1', 'mon': 'chardev=b',
        'chardev': 'file,id=x,path=@new',
        'object': 'secret,id=x,file=@file'}.items()},
}


def made_up(config, parts, marks):
    """The machine, with parts of it replaced: 'board.options' is options in
    board; devices and back ends are added."""
    config = copy.deepcopy(config)
    for name, value in marks.fill(parts).items():
        *path, last = name.split('.')
        where = config
        for step in path:
            where = where[step]
        if last in ('devices', 'backends', 'set'):
            where[last] = where[last] + value
        elif last == 'host-properties':
            where[last] = {**where[last], **value}
        else:
            where[last] = value
    return config


def send(vm, config, wait=True):
    """Sends a machine, and nothing else, and waits until it is looked at."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(vm.uri[5:])
        data = wire.encode([
            *wire.chain(wire.MACHINE, json.dumps(config).encode()),
            *wire.chain(wire.MACHINE_END, b'')])
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while wait and sock.recv(4096):
                pass


class Waiting:
    """A QEMU that waits for a machine; another one when one was made."""

    def __init__(self, directory, options=''):
        self.directory, self.options = directory, options
        self.vm = None

    def get(self):
        if self.vm and not self._waits():
            self.close()
        self.vm = self.vm or adopter(incoming='defer', options=self.options,
                                     workdir=self.directory)
        self.vm.uri = f'unix:{self.directory}/incoming'
        self.vm.qmp('migrate-incoming', uri=self.vm.uri)
        return self.vm

    def _waits(self):
        if not self.vm.alive():
            return False
        try:
            self.vm.qmp('query-pci')
        except QmpError:
            return True
        return False

    def ended(self):
        """Has it come to an end with the machine that was sent?"""
        if not self.vm.alive():
            return True
        info = self.vm.qmp('query-migrate')
        return info.get('status') == 'failed'

    def close(self):
        vm, self.vm = self.vm, None
        if vm:
            vm.close()


def is_over(waiting):
    """Waits until a QEMU has done all that it will do."""
    def over():
        try:
            return waiting.ended()
        except Exception:       # it ends just now
            return not waiting.vm.alive()
    wait_for(over, PATIENCE, lambda: f'nothing ends; {waiting.vm.says()}')


def untouched(waiting, marks, config, parts):
    vm = waiting.get()
    marks.touched()
    send(vm, made_up(config, parts, marks))
    is_over(waiting)
    found = marks.touched()
    check(not found, f'{found} was touched; {vm.says()}')
    if not vm.alive():
        vm.wait_exit()          # and says so if it has crashed
        check(vm.process.returncode == 1, f'{vm.process.returncode}')


def touched(directory, marks, config, parts, what):
    waiting = Waiting(directory, ',backends=trust')
    with contextlib.closing(waiting):
        vm = waiting.get()
        marks.touched()
        found = set()
        send(vm, made_up(config, parts, marks), wait=False)

        def seen():
            found.update(marks.touched())
            return what in found or not vm.alive()
        with contextlib.suppress(TimeoutError):
            wait_for(seen, PATIENCE, vm.says)
        found |= marks.touched()
        # It may wait for an answer that nobody gives, and hear no monitor.
        vm.kill()
        check(what in found, f'{what} was not touched, but {found}; '
                             f'{vm.says()}')


def main():
    with Tap('what a stream cannot make a QEMU do') as t, \
         tempdir() as directory:
        marks = Marks(directory)
        with Qemu(BUILT, '-m', '32M', '-S', machine='pc-q35-7.2-v4') as src:
            config = src.qmp('query-machine-config')
        with contextlib.closing(Waiting(directory)) as waiting:
            for name, (parts, what) in KINDS.items():
                t.case(f'{name} is not touched', untouched, waiting, marks,
                       config, parts)
        for name, (parts, what) in KINDS.items():
            if what:
                t.case(f'{name} is, if that is allowed', touched, directory,
                       marks, config, parts, what)


if __name__ == '__main__':
    main()
