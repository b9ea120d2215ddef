#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Who else uses TLS channels than migration: monitors, VNC and NBD.

They wait for something to read and then read little of it, while a record has
up to 16384 bytes and several are read at once: nobody sends anything more, so
whoever is not woken for what is left hangs.
"""

import json
import os
import socket
import ssl
import struct
import subprocess

from harness.qemu import BUILT, QEMU_IMG, Qemu, tempdir
from harness.tap import Tap, check, equal
from interop.tls import credentials, make_psk, make_x509

TIMEOUT = 120
COMMANDS = 500
VENCRYPT, X509_NONE = 19, 260
POINTER, UPDATE_REQUEST, UPDATE = 5, 3, 0
MOVES = 10000
IMAGE = 32 << 20


def context(where, side):
    """What Python's own TLS needs to be that side."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if side == 'client'
                          else ssl.PROTOCOL_TLS_SERVER)
    made.load_verify_locations(where / 'ca-cert.pem')
    made.load_cert_chain(where / f'{side}-cert.pem', where / f'{side}-key.pem')
    return made


def take(sock, length):
    data = b''
    while len(data) < length:
        more = sock.recv(length - len(data))
        check(more, f'the end, {length - len(data)} bytes early')
        data += more
    return data


def command(number):
    text = json.dumps({'execute': 'query-name', 'id': number})
    return text.ljust(150).encode() + b'\n'


def talk(sock):
    """Many commands at once, each of which is answered."""
    with sock.makefile('rb') as answers:
        check('QMP' in json.loads(answers.readline()), 'no greeting')
        sock.sendall(b'{"execute": "qmp_capabilities"}')
        equal(json.loads(answers.readline()), {'return': {}}, 'capabilities')
        sock.sendall(b''.join(map(command, range(COMMANDS))))
        for number in range(COMMANDS):
            equal(json.loads(answers.readline())['id'], number, 'answer')


def monitor(where, server):
    """server: of TLS and the socket, which else we are."""
    side, other = ('server', 'client') if server else ('client', 'server')
    with socket.create_server(('127.0.0.1', 0)) as listener:
        listener.settimeout(TIMEOUT)
        port = 0 if server else listener.getsockname()[1]
        how = 'server=on,wait=off' if server else 'reconnect=1'
        with Qemu(BUILT, *credentials('x509', where, side), '-chardev',
                  f'socket,id=tls,host=127.0.0.1,port={port},tls-creds=tls,'
                  f'{how}', '-mon', 'chardev=tls,mode=control') as vm:
            if server:
                name = next(one['filename'] for one in vm.qmp('query-chardev')
                            if one['label'] == 'tls')
                port = int(name.partition(',')[0].rpartition(':')[2])
                plain = socket.create_connection(('127.0.0.1', port))
            else:
                # It says more than its data: tickets for another session
                plain, _ = listener.accept()
            plain.settimeout(TIMEOUT)
            with context(where, other).wrap_socket(
                    plain, server_side=not server,
                    server_hostname='localhost' if server else None) as sock:
                talk(sock)
            vm.qmp('query-name')


def vnc(where):
    """Many moves of the pointer, and then a request, which is answered."""
    with tempdir() as directory:
        path = str(directory / 'vnc')
        with Qemu(BUILT, *credentials('x509', where, 'server'), '-vnc',
                  f'unix:{path},tls-creds=tls'):
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(TIMEOUT)
            plain.connect(path)
            plain.sendall(take(plain, 12))
            types = take(plain, take(plain, 1)[0])
            check(VENCRYPT in types, f'security types {list(types)}')
            plain.sendall(bytes([VENCRYPT]))
            plain.sendall(take(plain, 2))
            refused, count = take(plain, 2)
            equal((refused, struct.unpack(f'>{count}I',
                                          take(plain, 4 * count))),
                  (0, (X509_NONE,)), 'what is offered')
            plain.sendall(struct.pack('>I', X509_NONE))
            equal(take(plain, 1), b'\1', 'answer')
            with context(where, 'client').wrap_socket(
                    plain, server_hostname='localhost') as sock:
                equal(take(sock, 4), bytes(4), 'result')
                sock.sendall(b'\1')
                width, height = struct.unpack('>HH', take(sock, 4))
                take(sock, 16)
                take(sock, *struct.unpack('>I', take(sock, 4)))
                moves = b''.join(struct.pack('>BBHH', POINTER, 0, n % width,
                                             n % height)
                                 for n in range(MOVES))
                sock.sendall(moves + struct.pack('>BBHHHH', UPDATE_REQUEST, 0,
                                                 0, 0, width, height))
                equal(take(sock, 1)[0], UPDATE, 'message')


def nbd(where):
    with tempdir() as directory:
        image, copy = directory / 'image', directory / 'copy'
        image.write_bytes(os.urandom(IMAGE))
        path = str(directory / 'nbd')
        with Qemu(BUILT, *credentials('psk', where, 'server'), '-blockdev',
                  f'file,node-name=image,filename={image},read-only=on') as vm:
            vm.qmp('nbd-server-start', tls_creds='tls',
                   addr={'type': 'unix', 'data': {'path': path}})
            vm.qmp('block-export-add', id='image', type='nbd',
                   node_name='image')
            done = subprocess.run(
                [QEMU_IMG, 'convert', *(word.replace('-object', '--object') for
                                        word in
                                        credentials('psk', where, 'client')),
                 '--image-opts', '-O', 'raw', f'driver=nbd,path={path},'
                 'export=image,tls-creds=tls', str(copy)],
                capture_output=True, text=True, timeout=TIMEOUT)
            equal((done.returncode, done.stderr), (0, ''), 'qemu-img')
        check(copy.read_bytes() == image.read_bytes(), 'the copy differs')


with Tap('users of TLS channels') as t, tempdir() as keys:
    x509, psk = make_x509(keys / 'x509'), make_psk(keys / 'psk')
    t.case('a monitor that listens', monitor, x509, True)
    t.case('a monitor that connects', monitor, x509, False)
    t.case('VNC', vnc, x509)
    t.case('NBD', nbd, psk)
