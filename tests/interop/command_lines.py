#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""From a command line to a machine, and back: for each of QEMU's own forms,
the line that 'qemu-vmstate config --command-line' prints makes the same
machine, whose stream has the same sections.
"""

import json
import re
import shlex
import subprocess

from harness.guest import INITRAMFS, VMLINUZ
from harness.qemu import BUILT, QEMU_IMG, Qemu, migrate, tempdir, wait_for
from harness.tap import Tap, check, equal
from interop.configs import same, same_otherwise, seen_otherwise
from tool.run import run

Q35, PC = 'pc-q35-7.2-v4', 'pc-i440fx-7.2-v4'
RAM = 'memory-backend-ram'

# A name, the machine (with its options), the command line.  {d}: a directory
FORMS = [
    ('device', Q35, [
        '-netdev', 'user,id=n', '-device',
        'virtio-net-pci,netdev=n,id=net0,mac=52:54:00:aa:bb:cc,addr=7.0',
        '-device', 'virtio-rng-pci', '-device', 'pcie-root-port,id=rp,slot=3',
        '-device', 'e1000e,bus=rp,romfile=']),
    ('device as JSON', PC, [
        '-device', json.dumps({'driver': 'virtio-scsi-pci', 'id': 'scsi',
                               'num_queues': 2, 'addr': '0x9'}),
        '-blockdev', 'null-co,node-name=n,read-zeroes=on', '-device',
        json.dumps({'driver': 'scsi-hd', 'drive': 'n', 'serial': 'a,b "c"',
                    'bus': 'scsi.0', 'scsi-id': 4})]),
    ('device, several functions', Q35, [
        '-device', 'ich9-usb-ehci1,id=e,addr=1d.7,multifunction=on',
        '-device', 'ich9-usb-uhci1,masterbus=e.0,firstport=0,addr=1d.0,'
                   'multifunction=on',
        '-device', 'usb-hub,bus=e.0,port=1', '-device', 'usb-tablet']),
    ('set', Q35, ['-device', 'virtio-rng-pci,id=r', '-set',
                  'device.r.max-bytes=77', '-set', 'device.r.period=9']),
    ('drive, none', Q35, [
        '-drive', 'file={d}/qcow2,if=none,id=d,cache=none,format=qcow2,'
                  'discard=unmap,detect-zeroes=on,werror=stop',
        '-device', 'virtio-blk-pci,drive=d']),
    ('drive, ide', PC, ['-drive', 'file={d}/raw,format=raw', '-drive',
                        'index=3,media=cdrom,file={d}/iso,format=raw',
                        '-drive', 'if=ide,bus=1,unit=0,id=x,readonly=off,'
                                  'file={d}/qcow2']),
    ('drive, sata', Q35, ['-drive', 'file={d}/raw,format=raw', '-drive',
                          'index=4,media=cdrom']),
    ('drive, virtio', Q35, ['-drive', 'if=virtio,file={d}/qcow2', '-drive',
                            'if=virtio,file={d}/raw,format=raw,readonly=on']),
    ('drive, overlay', Q35, ['-drive', 'if=virtio,file={d}/overlay']),
    ('drive, with a node inside', Q35, [
        '-drive', 'if=none,id=d,driver=qcow2,file.driver=file,'
                  'file.filename={d}/qcow2,file.node-name=inside',
        '-device', 'virtio-blk-pci,drive=d']),
    ('drive, throttled', Q35, [
        '-drive', 'if=none,id=d,file={d}/raw,format=raw,'
                  'throttling.iops-total=20,throttling.bps-read=1000000,'
                  'throttling.group=g', '-device', 'ide-hd,drive=d']),
    ('hda and hdd', PC, ['-hda', '{d}/qcow2', '-hdd', '{d}/qcow2-2']),
    ('the file alone', PC, ['{d}/qcow2']),
    ('cdrom', Q35, ['-cdrom', '{d}/iso']),
    ('fda', PC, ['-fda', '{d}/floppy']),
    ('fdb', Q35, ['-device', 'isa-fdc', '-drive',
                  'if=none,id=f,format=raw,file={d}/floppy',
                  '-device', 'floppy,drive=f,unit=1']),
    ('pflash', Q35, ['-pflash', '{d}/flash', '-drive',
                     'if=pflash,format=raw,file={d}/flash2']),
    ('pflash as blockdev', 'pc-q35-7.2-v4,pflash0=f', [
        '-blockdev', 'raw,node-name=f,file.driver=file,read-only=on,'
                     'file.filename={d}/flash']),
    ('blockdev', Q35, [
        '-blockdev', 'file,node-name=file,filename={d}/qcow2', '-blockdev',
        'qcow2,node-name=fmt,file=file', '-object',
        'throttle-group,id=g,x-iops-total=30', '-blockdev',
        'throttle,node-name=t,throttle-group=g,file=fmt', '-device',
        'virtio-blk-pci,drive=t']),
    ('blockdev with an overlay', PC, [
        '-blockdev', 'qcow2,node-name=o,file.driver=file,'
                     'file.filename={d}/overlay', '-device',
        'ide-hd,drive=o']),
    ('nic', Q35, ['-nic', 'user,model=virtio,mac=52:54:00:11:22:33', '-nic',
                  'hubport,hubid=3,model=e1000e,id=second']),
    ('net', PC, ['-net', 'nic,model=rtl8139', '-net', 'user', '-net',
                 'nic,model=e1000,macaddr=52:54:00:11:22:44']),
    ('nic none', Q35, ['-nic', 'none']),
    ('netdev hub', PC, [
        '-netdev', 'user,id=u', '-netdev', 'hubport,id=a,hubid=1,netdev=u',
        '-netdev', 'hubport,id=b,hubid=1', '-device', 'e1000,netdev=b']),
    ('netdev socket', Q35, [
        '-netdev', 'socket,id=s,udp=127.0.0.1:9,localaddr=127.0.0.1:0',
        '-device', 'virtio-net-pci,netdev=s']),
    ('netdev user', Q35, [
        '-netdev', 'user,id=u,net=10.9.0.0/24,dhcpstart=10.9.0.40,restrict=on,'
                   'hostfwd=tcp:127.0.0.1:0-:22,dnssearch=a.b,dnssearch=c.d',
        '-device', 'virtio-net-pci,netdev=u']),
    ('vga', PC, ['-vga', 'cirrus']),
    ('vga virtio', Q35, ['-vga', 'virtio']),
    ('vga vmware', Q35, ['-vga', 'vmware']),
    ('usb', PC, ['-usb', '-usbdevice', 'tablet', '-usbdevice', 'keyboard']),
    ('usb as a property', 'pc-q35-7.2-v4,usb=on', ['-device', 'usb-mouse']),
    ('readconfig', Q35, ['-readconfig', '{d}/config']),
    ('global', PC, ['-global', 'e1000.mitigation=off', '-global',
                    'driver=PIIX4_PM,property=disable_s3,value=1', '-global',
                    'isa-fdc.fdtypeA=120', '-device', 'e1000']),
    ('smp', Q35, ['-smp', '3']),
    ('smp in full', Q35, ['-smp', '4,sockets=2,dies=2,cores=2,threads=1,'
                                  'maxcpus=8']),
    ('smp and a CPU that is added', PC, [
        '-smp', '1,maxcpus=3,sockets=3', '-device',
        'qemu64-x86_64-cpu,socket-id=2,core-id=0,thread-id=0,id=c']),
    ('numa, cpus', Q35, [
        '-smp', '4,sockets=2', '-m', '64M', '-object', f'{RAM},id=a,size=32M',
        '-object', f'{RAM},id=b,size=32M', '-numa',
        'node,cpus=0-1,memdev=a', '-numa', 'node,nodeid=1,cpus=2,cpus=3,'
                                           'memdev=b']),
    ('numa, distances', PC, [
        '-smp', '2,sockets=2', '-m', '64M', '-object', f'{RAM},id=a,size=64M',
        '-numa', 'node,memdev=a', '-numa', 'node', '-numa',
        'cpu,node-id=0,socket-id=0', '-numa', 'cpu,node-id=1,socket-id=1',
        '-numa', 'dist,src=0,dst=1,val=15']),
    ('numa, hmat', 'pc-q35-7.2-v4,hmat=on', [
        '-smp', '2', '-m', '64M', '-object', f'{RAM},id=a,size=64M', '-numa',
        'node,memdev=a,nodeid=0,cpus=0-1,initiator=0', '-numa',
        'hmat-lb,initiator=0,target=0,hierarchy=memory,'
        'data-type=access-latency,latency=5', '-numa',
        'hmat-lb,initiator=0,target=0,hierarchy=memory,'
        'data-type=access-bandwidth,bandwidth=200M', '-numa',
        'hmat-cache,node-id=0,size=10K,level=1,associativity=direct,'
        'policy=write-back,line=8']),
    ('memory', PC, ['-m', 'size=48M,slots=3,maxmem=1G', '-object',
                    f'{RAM},id=d,size=128M', '-device',
                    'pc-dimm,memdev=d,slot=2,id=dimm', '-object',
                    f'{RAM},id=e,size=128M', '-device', 'pc-dimm,memdev=e']),
    ('memory that is given', 'pc-q35-7.2-v4,memory-backend=m', [
        '-m', '32M', '-object', 'memory-backend-memfd,id=m,size=32M,share=on,'
                                'prealloc=on']),
    ('memory from a path', Q35, ['-m', '32M', '-mem-path', '{d}']),
    ('object', Q35, [
        '-object', 'iothread,id=io,poll-max-ns=77', '-object',
        json.dumps({'qom-type': 'rng-builtin', 'id': 'rng'}),
        '-device', 'virtio-rng-pci,rng=rng', '-object',
        'cryptodev-backend-builtin,id=c,queues=1', '-blockdev',
        'null-co,node-name=n,read-zeroes=on', '-device',
        'virtio-blk-pci,iothread=io,drive=n']),
    ('object for a net client', PC, [
        '-netdev', 'user,id=n', '-device', 'e1000,netdev=n', '-object',
        'filter-buffer,id=f,netdev=n,interval=1000,status=off']),
    ('cpu', Q35, ['-cpu', 'Nehalem']),
    ('cpu with features', PC, [
        '-cpu', 'Haswell-noTSX,-sse4.2,+ssse3,x2apic=on,vendor=AuthenticAMD,'
                'model-id=a b,hv_relaxed,hv-vapic=on']),
    ('cpu max', Q35, ['-cpu', 'max,avx2=off', '-smp', '2']),
    ('serial', Q35, ['-serial', 'null', '-serial', 'none', '-serial',
                     'file:{d}/ser,ial', '-serial',
                     'unix:{d}/socket,server=on,wait=off']),
    ('serial tcp and udp', PC, [
        '-serial', 'tcp:127.0.0.1:0,server=on,wait=off,nodelay=on', '-serial',
        'udp:127.0.0.1:9@127.0.0.1:0', '-serial',
        'telnet:127.0.0.1:0,server=on,wait=off', '-serial', 'pty']),
    ('serial with a monitor', Q35, ['-serial', 'mon:null']),
    ('parallel and monitor', PC, ['-parallel', 'null', '-monitor', 'null',
                                  '-parallel', 'vc:80Cx24C']),
    ('debugcon', PC, ['-debugcon', 'file:{d}/debug']),
    ('chardev', Q35, [
        '-chardev', 'socket,id=a,path={d}/chr,server=on,wait=off,'
                    'logfile={d}/log', '-serial', 'chardev:a',
        '-chardev', 'ringbuf,id=b,size=1024', '-device', 'virtio-serial',
        '-device', 'virtserialport,chardev=b,name=org.x', '-device',
        'virtconsole,nr=5', '-chardev', 'null,id=m,mux=on', '-device',
        'isa-serial,chardev=m', '-device', 'isa-serial,chardev=m']),
    ('chardev files', PC, [
        '-chardev', 'file,id=a,path={d}/out,append=on', '-device',
        'isa-serial,chardev=a', '-chardev', 'pipe,id=p,path={d}/pipe',
        '-device', 'isa-serial,chardev=p']),
    ('audiodev', Q35, [
        '-audiodev', 'none,id=a,timer-period=20000,out.mixing-engine=off',
        '-device', 'ich9-intel-hda', '-device', 'hda-duplex,audiodev=a']),
    ('audio', PC, ['-audio', 'none,model=hda']),
    ('audio, the speaker', 'pc-i440fx-7.2-v4,pcspk-audiodev=a', [
        '-audiodev', 'none,id=a', '-device', 'AC97,audiodev=a']),
    ('smbios', Q35, ['-smbios', 'type=1,serial=a,,b,manufacturer=x y',
                     '-smbios', 'type=11,value=one,value=two', '-smbios',
                     'type=17,loc_pfx=dimm,speed=5']),
    ('fw_cfg', Q35, ['-fw_cfg', 'name=opt/a,string=x,,y=z', '-fw_cfg',
                     'opt/b,file={d}/some']),
    ('files for the firmware', PC, [
        '-option-rom', '{d}/some,bootindex=3', '-acpitable',
        'sig=TEST,data={d}/some', '-bios', 'bios-256k.bin']),
    ('rtc', Q35, ['-rtc', 'base=2006-06-17T16:01:21,clock=vm,driftfix=slew']),
    ('uuid and name', Q35, ['-uuid', '12345678-9abc-def0-1234-56789abcdef0',
                            '-name', 'a guest,process=x']),
    ('boot', PC, ['-boot', 'order=dc,once=n,menu=on,strict=on,splash-time=9,'
                           'reboot-timeout=7']),
    ('boot, an order alone', Q35, ['-boot', 'n']),
    ('kernel', Q35, ['-kernel', VMLINUZ, '-initrd', INITRAMFS, '-append',
                     'console=ttyS0 a="b, c"  d']),
    ('q35, options', 'pc-q35-7.2-v4,smm=off,vmport=on,hpet=off,sata=off,'
                     'smbus=off,i8042=off,pit=off,graphics=off,'
                     'mem-merge=off,dump-guest-core=off,'
                     'max-ram-below-4g=1G,kernel-irqchip=off,'
                     'smbios-entry-point-type=64,nvdimm=on', []),
    ('pc, options', 'pc-i440fx-7.2-v4,vmport=off,'
                    'suppress-vmdesc=off,default-bus-bypass-iommu=on,'
                    'acpi=on', []),
    ('options with others in them', PC, ['-no-hpet', '-no-acpi']),
    ('iommu', 'pc-q35-7.2-v4,kernel-irqchip=split', [
        '-device', 'intel-iommu,intremap=on,device-iotlb=on', '-device',
        'virtio-net-pci,disable-legacy=on,iommu_platform=on,ats=on']),
    ('icount', PC, ['-icount', 'shift=7,sleep=off']),
    ('bridges', PC, [
        '-device', 'pci-bridge,id=b,chassis_nr=2,addr=8', '-device',
        'pci-bridge,id=c,chassis_nr=3,bus=b,addr=1', '-device',
        'e1000,bus=c,addr=2', '-device', 'pxb,bus_nr=100,id=x', '-device',
        'virtio-balloon-pci,bus=x']),
    ('nested PCIe', Q35, [
        '-device', 'pcie-root-port,id=rp,chassis=1', '-device',
        'x3130-upstream,id=up,bus=rp', '-device',
        'xio3130-downstream,id=down,bus=up,chassis=2', '-device',
        'virtio-net-pci,bus=down', '-device', 'pcie-pci-bridge,id=pci',
        '-device', 'e1000,bus=pci,addr=3']),
    ('ids with other signs', Q35, [
        '-device', 'virtio-scsi-pci,id=a-b_c.d', '-device',
        'scsi-cd,bus=a-b_c.d.0,id=x.y']),
]

CONFIG = '''[machine]
  type = "pc-q35-7.2-v4"
  vmport = "off"
[memory]
  size = "48M"
[smp-opts]
  cpus = "2"
[drive "d"]
  if = "none"
  file = "{d}/raw"
  format = "raw"
[device "disk"]
  driver = "virtio-blk-pci"
  drive = "d"
[netdev "n"]
  type = "user"
[device]
  driver = "virtio-net-pci"
  netdev = "n"
[chardev "c"]
  backend = "null"
[device]
  driver = "isa-serial"
  chardev = "c"
[object "r"]
  qom-type = "rng-builtin"
[global]
  driver = "virtio-net-pci"
  property = "mrg_rxbuf"
  value = "off"
[rtc]
  base = "localtime"
[boot-opts]
  order = "c"
[fw_cfg "x"]
  name = "opt/x"
  string = "y"
'''


def prepare(directory):
    """The files that the command lines name."""
    def image(*words):
        subprocess.run([QEMU_IMG, 'create', '-q', *map(str, words)],
                       check=True, cwd=directory)

    image('-f', 'raw', 'raw', '3M')
    image('-f', 'raw', 'iso', '2M')
    image('-f', 'raw', 'floppy', '1440K')
    image('-f', 'raw', 'flash', '256K')
    image('-f', 'raw', 'flash2', '128K')
    image('-f', 'qcow2', 'qcow2', '4M')
    image('-f', 'qcow2', 'qcow2-2', '5M')
    image('-f', 'qcow2', '-F', 'raw', '-b', 'raw', 'overlay', '6M')
    (directory / 'some').write_bytes(b'x' * 512)
    (directory / 'config').write_text(CONFIG.format(d=directory))
    subprocess.run(['mkfifo', 'pipe'], check=True, cwd=directory)


def told(directory, name, *args, **options):
    """A machine in its own words, in others, and its stream."""
    path = directory / name
    with Qemu(BUILT, '-S', *args, **options) as qemu:
        found = qemu.qmp('query-machine-config')
        seen = seen_otherwise(qemu)
        size = migrate(qemu, f'exec:cat > {path}')['stream']['bytes']
        wait_for(lambda: path.stat().st_size == size, 10,
                 lambda: f'{path.stat().st_size} of {size} bytes came')
    return found, seen, path


def sections(path):
    """Names, instances, versions and sizes; of RAM, how it is is no matter."""
    rows = re.findall(r'^ *\d+  (\S+) +(\d+) +(\d+) +\d+ +(\d+)  ',
                      run('info', path).good().out, re.M)
    check(len(rows) > 15, f'{len(rows)} sections')
    return [row[:3] if row[0] == 'ram' else row for row in rows]


def round_trip(directory, machine, args, defaults):
    args = [str(arg).replace('{d}', str(directory)) for arg in args]
    if not {'-m', '-readconfig'} & set(args):
        args = ['-m', '32M', *args]
    if '-readconfig' in args:
        machine = None
    first, seen, stream = told(directory, 'first', *args, machine=machine,
                               defaults=defaults)
    line = run('config', '--command-line', stream).good().out
    equal(line.count('\n'), 1, 'lines')
    program, *words = shlex.split(line)
    equal(program, 'qemu-system-x86_64', 'program')
    check('-nodefaults' in words, line)
    try:
        second, seen_2, stream_2 = told(directory, 'second', *words,
                                        machine=None, accel=None,
                                        defaults=True)
        same(first, second)
        same_otherwise(seen, seen_2)
        equal(sections(stream_2), sections(stream), 'sections')
    except Exception as error:
        raise AssertionError(f'{error}\nwith {line}') from error


with Tap('command lines, there and back') as t, tempdir() as scratch:
    prepare(scratch)
    for title, machine_, args_ in FORMS:
        t.case(title, round_trip, scratch, machine_, args_, False)
    for machine_ in Q35, PC:
        t.case(f'{machine_} with default devices', round_trip, scratch,
               machine_, [], True)
    t.case('default devices and others', round_trip, scratch, PC,
           ['-device', 'virtio-rng-pci', '-serial', 'null', '-cdrom',
            '{d}/iso'], True)
