#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine as it stands: what query-machine-config tells is all there is,
the same each time and however a device was made, and nothing that is secret.
"""

import contextlib
import json
import subprocess

from harness.qemu import BUILT, QEMU_IMG, Qemu, tempdir, wait_for
from harness.qmp import QmpError
from harness.tap import Tap, check, equal
from interop.configs import by_id, by_name, by_path, same

MACHINES = 'pc-i440fx-7.2', 'pc-q35-7.2'
SECRET = 'Wisteria-7741'
MODELS = 'qemu64', 'Nehalem', 'EPYC-v1', 'max'

# Back ends for the devices below
BACKENDS = [
    *(word for i in range(8) for word in (
        '-blockdev', f'null-co,node-name=disk{i},size=67108864,'
                     'read-zeroes=on')),
    *(word for i in range(4) for word in ('-netdev', f'user,id=net{i}')),
    *(word for i in range(4) for word in ('-chardev', f'null,id=chr{i}')),
    '-audiodev', 'none,id=audio0',
    '-object', 'iothread,id=io0',
    '-object', 'rng-builtin,id=rng0',
    '-object', 'memory-backend-ram,id=mem0,size=128M',
    '-object', 'memory-backend-ram,id=mem1,size=128M',
]

# What each machine type takes by '-device'
ANYWHERE = [
    'virtio-net-pci,netdev=net0,id=nic0,mq=on,vectors=8,tx=timer',
    'e1000,netdev=net1,addr=0x12', 'rtl8139,netdev=net2',
    'virtio-blk-pci,drive=disk0,iothread=io0,serial=abc,num-queues=2',
    'virtio-scsi-pci,id=scsi',
    'scsi-hd,drive=disk1,bus=scsi.0,scsi-id=3,lun=1',
    'scsi-cd,drive=disk2,id=cd', 'lsi,id=lsi', 'scsi-hd,drive=disk3,bus=lsi.0',
    'virtio-serial-pci', 'virtserialport,chardev=chr0,name=port',
    'virtio-balloon-pci', 'virtio-rng-pci,rng=rng0', 'virtio-gpu-pci',
    'nec-usb-xhci,id=xhci', 'usb-tablet,bus=xhci.0',
    'usb-storage,drive=disk4,bus=xhci.0,removable=on',
    'usb-hub,bus=xhci.0,port=4', 'usb-mouse,bus=xhci.0,port=4.2',
    'intel-hda,id=hda', 'hda-duplex,audiodev=audio0,bus=hda.0',
    'isa-serial,chardev=chr1', 'isa-serial,chardev=chr2,iobase=0x2e8,irq=9',
    'pc-dimm,memdev=mem0,id=dimm0', 'pc-dimm,memdev=mem1',
    'qemu64-x86_64-cpu,socket-id=2,core-id=0,thread-id=0', 'pvpanic',
]
OWN = {
    'pc-i440fx-7.2': [
        'pci-bridge,id=bridge,chassis_nr=3', 'i6300esb,bus=bridge,addr=5',
        'ide-hd,drive=disk5,bus=ide.0,unit=0', 'ide-cd,drive=disk6',
    ],
    'pc-q35-7.2': [
        'pcie-root-port,id=rp,chassis=1,addr=15.0,multifunction=on',
        'pcie-root-port,id=rp2,chassis=2,addr=15.1',
        'e1000e,netdev=net3,bus=rp',
        'ahci,id=ahci', 'ide-hd,drive=disk5,bus=ahci.0', 'ide-cd,bus=ide.2',
        'ich9-usb-ehci1,id=ehci,multifunction=on,addr=1d.7',
        'ich9-usb-uhci1,masterbus=ehci.0,firstport=0,addr=1d.0,'
        'multifunction=on',
    ],
}
TOPOLOGY = ['-smp', '2,maxcpus=4,sockets=4', '-m', '256M,slots=4,maxmem=2G']


def vm(machine, *args, **options):
    return Qemu(BUILT, *args, machine=machine, **options)


def config(machine, *args, **options):
    with vm(machine, *args, **options) as qemu:
        return qemu.qmp('query-machine-config')


def words(devices):
    return [word for device in devices for word in ('-device', device)]


@contextlib.contextmanager
def refused(words):
    """What is in here is refused with these words."""
    try:
        yield
    except QmpError as error:
        check(words in str(error), f'{words!r} is missing in: {error}')
    else:
        raise AssertionError('it was not refused')


def options(machine, name):
    return [o for o in machine['board']['options'] if o['option'] == name]


def value(device, name):
    return {**device['properties'], **device['host-properties']}[name]


def given_back(machine):
    """Its devices once more, from what is told of them."""
    for device in machine['devices']:
        if device['origin'] == 'user':
            yield json.dumps(
                {'driver': device['driver'],
                 **{name: device[name] for name in ('id', 'bus')
                    if name in device},
                 **{name: value(device, name) for name in device['set']}})


def full(machine):
    return (*TOPOLOGY, *BACKENDS, *words(ANYWHERE + OWN[machine]))


def round_trip(machine):
    """What is told of a device makes the same device."""
    first = config(machine, *full(machine))
    second = config(machine, *TOPOLOGY, *BACKENDS, *words(given_back(first)))
    same(first, second)
    asked = len(ANYWHERE + OWN[machine])
    equal(sum(d['origin'] == 'user' for d in first['devices']), asked,
          'devices that were asked for')


def each_time(machine, **options):
    """Two runs tell the same, with random numbers in QEMU's own names too."""
    args = full(machine) if not options else ('-nic', 'user', '-net', 'nic',
                                              '-net', 'user')
    one = config(machine, *args, **options)
    two = config(machine, *args, **options)
    same(one, two)
    equal([d['path'] for d in one['devices']],
          [d['path'] for d in two['devices']], 'order')


def one_path_each(machine):
    found = config(machine, *full(machine))
    paths = [device['path'] for device in found['devices']]
    equal(len(paths), len(set(paths)), 'paths')
    for i, path in enumerate(paths):
        for other in paths[i + 1:]:
            check(not path.startswith(other + '/'),
                  f'{other} stands behind {path}, which is a part of it')


def plugged_in(machine):
    """By command line, plugged in, and after others that were unplugged."""
    bridge = ('pci-bridge,id=bridge,chassis_nr=3'
              if machine.startswith('pc-i440fx') else
              'pcie-pci-bridge,id=bridge')
    before = (*TOPOLOGY, *BACKENDS, '-device', bridge, '-device',
              'virtio-scsi-pci,id=scsi', '-device', 'nec-usb-xhci,id=xhci')
    devices = [
        'virtio-net-pci,netdev=net0,bus=bridge,addr=2',
        'virtio-blk-pci,drive=disk0,id=disk,bus=bridge,addr=3',
        'scsi-hd,drive=disk1,bus=scsi.0,scsi-id=2',
        'pc-dimm,memdev=mem0,id=dimm',
        'qemu64-x86_64-cpu,socket-id=3,core-id=0,thread-id=0,id=cpu3',
        'usb-tablet,bus=xhci.0,port=2', 'usb-kbd,bus=xhci.0,port=1',
    ]
    cold = config(machine, *before, *words(devices))
    with vm(machine, *before) as qemu:
        empty = qemu.qmp('query-machine-config')
        unplug(qemu, 'usb-mouse', id='gone', bus='xhci.0', port='3')
        unplug(qemu, 'usb-mouse', bus='xhci.0', port='3', id='gone2')
        same(empty, qemu.qmp('query-machine-config'))
        for device in devices:
            driver, *rest = device.split(',')
            qemu.qmp('device_add', driver=driver,
                     **dict(word.split('=') for word in rest))
        hot = qemu.qmp('query-machine-config')
    check(by_id(hot, 'disk')['hotplugged'], 'it was plugged in')
    check('hotplugged' not in by_id(cold, 'disk'), 'it was not plugged in')
    drivers = [d['driver'] for d in hot['devices']]
    equal([d for d in devices if d.split(',')[0] not in drivers], [],
          'devices that are not told')
    same(cold, {**hot, 'devices': hot['devices']},
         ignore=('hotplugged', 'set'))


def unplug(qemu, driver, id, **options):
    qemu.qmp('device_add', driver=driver, id=id, **options)
    equal(by_id(qemu.qmp('query-machine-config'), id)['driver'], driver,
          'what was plugged in')
    qemu.qmp('device_del', id=id)
    wait_for(lambda: not any(
        d.get('id') == id
        for d in qemu.qmp('query-machine-config')['devices']),
        30, lambda: f'{id} is still there')


def addresses():
    """What QEMU chose is told as it would be given."""
    found = config('pc-q35-7.2', *full('pc-q35-7.2'))
    nic = by_id(found, 'nic0')
    equal(value(nic, 'addr'), nic['address'], 'a PCI address')
    equal(value(nic, 'mac'), '52:54:00:12:34:56', 'a MAC')
    equal(by_id(found, 'cd')['address'], '0:0:0', 'a SCSI address')
    tablet = [d for d in found['devices'] if d['driver'] == 'usb-tablet'][0]
    equal(value(tablet, 'port'), '1', 'a USB port')
    check('port' in tablet['set'], 'a port that QEMU chose is set')
    check(not {'netdev', 'tx'} & nic['properties'].keys(),
          'what the host alone can notice is among the guest\'s properties')
    equal(nic['host-properties']['netdev'], 'net0', 'its back end')
    dimm = by_id(found, 'dimm0')
    equal((dimm['path'], dimm['host-properties']['memdev']),
          ('/memory/0', 'mem0'), 'a DIMM')


def cpus(model):
    found = config('pc-q35-7.2', '-cpu', f'{model},-sse2,+avx,model-id=a b',
                   '-smp', '2,sockets=2')
    cpu = found['cpu']
    equal((cpu['model'], cpu['options']), (model, '-sse2,+avx,model-id=a b'),
          'what was asked for')
    equal(cpu['properties']['model-id'], 'a b', 'a property')
    check('sse2' not in cpu['features'] and 'sse' in cpu['features'],
          f'features: {cpu["features"]}')
    check(not any('_' in name for name in cpu['features']),
          'a feature has two names')
    places = [d for d in found['devices'] if d['path'].startswith('/cpu/')
              and d['driver'].endswith('-cpu')]
    equal([d['properties']['socket-id'] for d in places], [0, 1], 'sockets')


def defaults(machine):
    """What nobody asked for is told as the options that would ask for it."""
    found = config(machine, defaults=True)
    equal([o['value'] for o in options(found, 'vga')], ['std'], 'vga')
    nic, = options(found, 'nic')
    check(nic['value'].endswith(',netdev=hub0port0'), nic['value'])
    equal(nic['guest'] + ',netdev=hub0port0', nic['value'], 'its guest part')
    equal(by_name(found, 'net', 'hub0port1')['host'],
          {'hubid': 0, 'netdev': 'net0'}, 'the hub\'s other port')
    equal(by_name(found, 'net', 'net0')['type'], 'user', 'what is behind it')
    equal([o['value'] for o in options(found, 'serial')],
          ['chardev:serial0'], 'serial ports')
    cd, = [o for o in options(found, 'drive') if 'cdrom' in o['value']]
    equal(by_name(found, 'block', cd['value'].split('id=')[1])['guest'],
          {'removable': True, 'inserted': False, 'tray-open': False},
          'an empty drive')
    equal([d for d in found['devices'] if d['origin'] == 'user'], [],
          'devices that somebody asked for')
    equal(config(machine)['board']['options'],
          [{'option': 'vga', 'value': 'none'}], 'options without defaults')


def board_options(directory):
    """Options that no device shows, by command line and out of a file."""
    file = directory / 'file'
    file.write_text('hello\n')
    given = directory / 'config'
    given.write_text('[global]\n  driver = "e1000"\n'
                     '  property = "mitigation"\n  value = "off"\n'
                     f'[fw_cfg]\n  name = "opt/f"\n  file = "{file}"\n'
                     '[smbios]\n  type = "1"\n  serial = "a,b"\n'
                     '[device "nic"]\n  driver = "e1000"\n')
    found = config('pc-q35-7.2', '-readconfig', given, '-usb', '-usbdevice',
                   'tablet', '-uuid', '12345678-9abc-def0-1234-56789abcdef0',
                   '-global', 'virtio-net-pci.mrg_rxbuf=off', '-rtc',
                   'base=2020-01-01', '-audio', 'none,model=hda,id=sound',
                   '-global', 'migration.send-section-footer=on',
                   '-serial', 'null', '-drive',
                   'if=ide,media=cdrom,index=2')
    told = {(o['option'], o['value']) for o in found['board']['options']}
    equal(told, {
        ('vga', 'none'), ('serial', 'chardev:serial0'),
        ('usbdevice', 'tablet'),
        ('drive', 'if=ide,bus=2,unit=0,media=cdrom,id=ide2-cd0'),
        ('audio', 'model=hda,id=sound'),
        ('uuid', '12345678-9abc-def0-1234-56789abcdef0'),
        ('rtc', 'base=2020-01-01'), ('smbios', 'serial=a,,b,type=1'),
        ('fw_cfg', f'name=opt/f,file={file}'),
    }, 'options')
    fw_cfg, = options(found, 'fw_cfg')
    equal((fw_cfg['guest'], fw_cfg['size'], fw_cfg['checksum']),
          ('name=opt/f', 6, crc32c(b'hello\n')), 'a file')
    equal(sorted(found['board']['globals'], key=str),
          [{'driver': 'e1000', 'property': 'mitigation', 'value': 'off'},
           {'driver': 'virtio-net-pci', 'property': 'mrg_rxbuf',
            'value': 'off'}], 'defaults for devices')
    nic = by_id(found, 'nic')
    check('mitigation' not in nic['set'], 'a default that counts for all')


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def board():
    found = config('pc-q35-7.2,smm=off,max-ram-below-4g=1G', '-m',
                   '256M,slots=2,maxmem=1G', '-smp', '2,cores=2')['board']
    equal((found['type'], found['accelerator']), ('pc-q35-7.2', 'tcg'), 'type')
    equal(found['properties']['smm'], 'off', 'a property')
    for name in 'smm', 'memory', 'smp':
        check(name in found['set'], f'{name} was set')
    check('hpet' not in found['set'], 'hpet was not set')
    equal(found['properties']['memory'],
          {'size': 256 << 20, 'max-size': 1 << 30, 'slots': 2}, 'memory')
    equal(found['numa'], [], 'a node that the board made itself')


def numa():
    args = ['-m', '256M', '-smp', '2,sockets=2',
            '-object', 'memory-backend-ram,id=left,size=128M',
            '-object', 'memory-backend-ram,id=right,size=128M',
            '-numa', 'node,memdev=left', '-numa', 'node,memdev=right',
            '-numa', 'cpu,node-id=0,socket-id=0',
            '-numa', 'cpu,node-id=1,socket-id=1',
            '-numa', 'dist,src=0,dst=1,val=21']
    first = config('pc-q35-7.2', *args)
    equal([n['type'] for n in first['board']['numa']],
          ['node'] * 2 + ['cpu'] * 2 + ['dist'] * 2, 'options')
    again = []
    for option in first['board']['numa']:
        kind = option.pop('type')
        again += ['-numa', ','.join([kind, *(f'{name}={value}' for name, value
                                             in option.items())])]
    same(config('pc-q35-7.2', *args), config('pc-q35-7.2', *args[:8], *again))


def backends(directory):
    """Those of each kind, with what would make them again."""
    image, overlay = directory / 'base', directory / 'overlay'
    for words_ in (['raw', image, '3M'],
                   ['qcow2', '-F', 'raw', '-b', image, overlay, '5M']):
        subprocess.run([QEMU_IMG, 'create', '-q', '-f', *words_], check=True)
    found = config(
        'pc-q35-7.2', '-drive', f'file={overlay},if=none,id=drive,cache=none',
        '-device', 'virtio-blk-pci,drive=drive', '-object',
        'throttle-group,id=group,x-iops-total=7', '-blockdev',
        f'file,node-name=file,filename={image},read-only=on', '-blockdev',
        'throttle,node-name=slow,throttle-group=group,file=file,read-only=on',
        '-device', 'ide-cd,drive=slow', '-netdev',
        'user,id=net,hostname=a,restrict=on', '-device',
        'e1000,netdev=net', '-chardev',
        f'socket,id=chr,path={directory}/socket,server=on,wait=off,mux=on',
        '-device', 'isa-serial,chardev=chr', '-audiodev',
        'none,id=audio,timer-period=5000', '-object',
        'filter-buffer,id=buffer,netdev=net,interval=1000')
    drive = by_name(found, 'block', 'drive')
    equal((drive['type'], drive['guest']['size'], drive['host']['file'],
           drive['host']['cache']['direct'], 'backing' in drive['host']),
          ('qcow2', 5 << 20, {'driver': 'file', 'filename': str(overlay)},
           True, False), 'a drive')
    equal(by_name(found, 'block', 'slow')['host'],
          {'driver': 'throttle', 'node-name': 'slow', 'read-only': True,
           'throttle-group': 'group', 'file': 'file'}, 'a node')
    equal(by_name(found, 'object', 'group')['host']['limits']['iops-total'], 7,
          'a throttle group')
    net = by_name(found, 'net', 'net')
    equal((net['type'], net['host']),
          ('user', {'hostname': 'a', 'restrict': True}), 'a net client')
    equal(by_name(found, 'chardev', 'chr')['type'], 'mux', 'a chardev')
    under = by_name(found, 'chardev', 'chr-base')
    equal((under['type'], under['host']['addr']['data']['path']),
          ('socket', f'{directory}/socket'), 'what is under it')
    audio = by_name(found, 'audio', 'audio')
    equal((audio['type'], audio['host']['timer-period']), ('none', 5000),
          'an audio back end')
    order = [b['id'] for b in found['backends']]
    for before, after in (('file', 'slow'), ('group', 'slow'),
                          ('chr-base', 'chr'), ('net', 'buffer')):
        check(order.index(before) < order.index(after),
              f'{after} needs {before}: {order}')
    check('harness' not in order, 'a monitor\'s chardev is told')


def changed_media(directory):
    """A medium that was changed, and one that was taken out."""
    image = directory / 'medium'
    subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'raw', image, '2M'],
                   check=True)
    with vm('pc-q35-7.2', '-device', 'ide-cd,id=cd,bus=ide.0', '-blockdev',
            'null-co,node-name=null,size=1048576,read-zeroes=on', '-device',
            'ide-cd,id=other,drive=null,bus=ide.1') as qemu:
        found = qemu.qmp('query-machine-config')
        equal((value(by_id(found, 'cd'), 'drive'),
               value(by_id(found, 'other'), 'drive')), ('', 'null'), 'drives')
        qemu.qmp('blockdev-change-medium', id='cd', filename=str(image),
                 format='raw')
        qemu.qmp('eject', id='other', force=True)
        found = qemu.qmp('query-machine-config')
        name = value(by_id(found, 'cd'), 'drive')
        equal((name, value(by_id(found, 'other'), 'drive')), ('block0', ''),
              'drives after the change')
        medium = by_name(found, 'block', name)
        equal((medium['guest']['size'], medium['host']['file']['filename']),
              (2 << 20, str(image)), 'the new medium')


def netdevs_come_and_go():
    with vm('pc-q35-7.2', '-netdev', 'user,id=a,hostname=x') as qemu:
        qemu.qmp('netdev_add', type='user', id='b', hostname='y')
        found = qemu.qmp('query-machine-config')
        equal(by_name(found, 'net', 'b')['host'], {'hostname': 'y'}, 'b')
        qemu.qmp('netdev_del', id='a')
        qemu.qmp('netdev_add', type='hubport', id='a', hubid=3)
        found = qemu.qmp('query-machine-config')
        equal((by_name(found, 'net', 'a')['type'],
               by_name(found, 'net', 'a')['host']), ('hubport', {'hubid': 3}),
              'another of that name')


def secrets(directory):
    """Nothing that is secret shows, anywhere."""
    (directory / 'key').write_text(SECRET)
    image = directory / 'image'
    subprocess.run(
        [QEMU_IMG, 'create', '-q', '-f', 'qcow2', '--object',
         f'secret,id=key,data={SECRET}', '-o', 'encrypt.format=luks,'
         'encrypt.key-secret=key,encrypt.iter-time=10', image, '1M'],
        check=True)
    with vm('pc-q35-7.2', '-object', f'secret,id=key,data={SECRET}', '-object',
            f'secret,id=file,file={directory}/key', '-object',
            'authz-simple,id=who,identity=' + SECRET, '-netdev',
            f'user,id=net,bootfile=tftp://me:{SECRET}@host/file', '-blockdev',
            json.dumps({'driver': 'qcow2', 'node-name': 'disk',
                        'encrypt': {'format': 'luks', 'key-secret': 'key'},
                        'file': {'driver': 'file', 'filename': str(image)}}),
            '-device', 'virtio-blk-pci,drive=disk') as qemu:
        text = json.dumps(qemu.qmp('query-machine-config'))
        shown = qemu.hmp('info machine-config')
    check(SECRET not in text and SECRET not in shown, 'a secret shows')
    check(str(directory / 'key') not in text, 'where a secret is shows')
    found = json.loads(text)
    for name, kind in (('key', 'secret'), ('file', 'secret'),
                       ('who', 'authz-simple')):
        object_ = by_name(found, 'object', name)
        equal((object_['type'], object_['host'], object_['guest']),
              (kind, {}, {}), name)
    equal(by_name(found, 'net', 'net')['host']['bootfile'],
          'tftp://host/file', 'a URL')
    equal(by_name(found, 'block', 'disk')['host']['encrypt'],
          {'format': 'luks', 'key-secret': 'key'}, 'the id of a secret')


def firmware(directory):
    """What the guest starts in, wherever the file is."""
    (directory / 'bios').write_bytes(bytes(range(256)) * 256)
    found = config('pc-q35-7.2', '-S', '-bios', str(directory / 'bios'))
    rom, = [b for b in found['ram-blocks'] if b['name'] == 'pc.bios']
    equal((rom['size'], rom['checksum']),
          (1 << 16, crc32c(bytes(range(256)) * 256)), 'firmware')
    equal(found['board']['host-properties']['firmware'],
          str(directory / 'bios'), 'its file')


def memory():
    """The board's own memory needs no option; another's is told."""
    own = config('pc-q35-7.2', '-m', '128M')
    equal([b for b in own['backends'] if b['kind'] == 'object'], [], 'objects')
    check('memory-backend' not in own['board']['host-properties'], 'memory')
    given = config('pc-q35-7.2,memory-backend=ram', '-m', '128M', '-object',
                   'memory-backend-memfd,id=ram,size=128M,share=on')
    equal(given['board']['host-properties']['memory-backend'], 'ram', 'memory')
    equal(by_name(given, 'object', 'ram')['type'], 'memory-backend-memfd',
          'its type')
    for found in own, given:
        blocks = {b['name']: b for b in found['ram-blocks']}
        check(blocks['pc.bios'].get('checksum'),
              'the firmware has no checksum')
        equal([n for n, b in blocks.items() if 'checksum' in b], ['pc.bios'],
              'blocks with a checksum')
        equal(sorted(blocks), list(blocks), 'order')


def cookie():
    with vm('pc-q35-7.2') as qemu:
        check('cookie' not in qemu.qmp('query-machine-config'), 'no cookie')
        for text in '<domain name="ü"/>\n', 'x' * 5000, '':
            qemu.qmp('set-machine-cookie', cookie=text)
            equal(qemu.qmp('query-machine-config')['cookie'], text, 'cookie')
        with refused('longer than 1048576 bytes'):
            qemu.qmp('set-machine-cookie', cookie='x' * ((1 << 20) + 1))
        equal(qemu.qmp('query-machine-config')['cookie'], '', 'kept')
        qemu.qmp('set-machine-cookie')
        check('cookie' not in qemu.qmp('query-machine-config'), 'no cookie')


def hmp():
    with vm('pc-q35-7.2', '-cpu', 'Nehalem', '-device',
            'virtio-scsi-pci,id=scsi', '-device',
            'scsi-cd,id=cd,scsi-id=4') as qemu:
        shown = qemu.hmp('info machine-config')
        size = len(json.dumps(qemu.qmp('query-machine-config')))
    for line in ('machine: pc-q35-7.2', 'accelerator: tcg', 'cpu: Nehalem',
                 "virtio-scsi-pci 'scsi' at 01.0 on pcie.0",
                 "scsi-cd 'cd' at 0:4:0 on scsi.0"):
        check(line in shown, f'{line} is not in {shown}')
    told = int(shown.split('size: ')[1].split()[0])
    check(abs(told - size) < 64, f'size {told}, and it is {size}')


with Tap('the machine as it stands') as t, tempdir() as scratch:
    for machine_ in MACHINES:
        t.case(f'{machine_}: what is told makes the same', round_trip,
               machine_)
        t.case(f'{machine_}: the same each time', each_time, machine_)
        t.case(f'{machine_}: the same each time, by default', each_time,
               machine_, defaults=True)
        t.case(f'{machine_}: paths', one_path_each, machine_)
        t.case(f'{machine_}: plugged in', plugged_in, machine_)
        t.case(f'{machine_}: default devices', defaults, machine_)
    t.case('what QEMU chose', addresses)
    for model_ in MODELS:
        t.case(f'CPU {model_}', cpus, model_)
    t.case('options of the board', board_options, scratch)
    t.case('properties of the board', board)
    t.case('NUMA', numa)
    t.case('back ends', backends, scratch)
    t.case('media that were changed', changed_media, scratch)
    t.case('net clients that come and go', netdevs_come_and_go)
    t.case('secrets', secrets, scratch)
    t.case('memory', memory)
    t.case('firmware', firmware, scratch)
    t.case('cookie', cookie)
    t.case('info machine-config', hmp)
