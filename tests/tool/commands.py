#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu-vmstate's commands on real streams of both versions: what they say is
what QEMU knows, and their exit status.
"""

import json
import os
import pty
import re
import shlex
import subprocess
import time

from harness.qemu import BUILT, environment, spawn, tempdir
from harness.tap import Tap, check, equal
from tool.run import DEVICES, TOOL, V3, V4, dump, record, run

# Devices that write by hand what version 4 has frames for
BY_HAND = re.compile('/virtio-')
UNSTEADY = re.compile('time|clock|cmos|offset|base_rtc|last_update|tsc|'
                      'runstate')


def known_of(src):
    """What QEMU says of itself, to be found in the dump."""
    registers = src.hmp('info registers')
    return {'machine': src.qmp('query-machine-config'),
            'eip': int(re.search(r'EIP=(\w+)', registers).group(1), 16),
            'efer': int(re.search(r'EFER=(\w+)', registers).group(1), 16)}


def rows(text):
    """The rows of info's table: name, instance, version, bytes."""
    found = {}
    for line in text.splitlines():
        row = re.match(r' *(\d+)  (\S+) +(\d+) +(\d+) +(?:(\d+) +)?(\d+)  ',
                       line)
        if row:
            found[row.group(2), int(row.group(3))] = int(row.group(6))
    return found


def all_bytes(text):
    """The sizes of all rows, those without an id as well."""
    return [int(size) for size in re.findall(r' (\d+)  [#.]+$', text, re.M)]


def info_v4():
    said = run('info', v4).good().out
    stream = info4['stream']
    check('version 4, of machine pc-q35-7.2' in said, said)
    check(f'{stream["sections"]} sections, {stream["records"]} records, '
          f'{stream["bytes"]} bytes' in said, said)
    equal(len(rows(said)), stream['sections'], 'rows of sections')
    equal(sum(all_bytes(said)), stream['bytes'], 'sum of all rows')
    check(rows(said)['ram', 0] == max(rows(said).values()), said)
    bars = re.findall(r'#+', said)
    check(10 <= max(map(len, bars)) <= 30, f'bars: {bars}')


def hex_section():
    said = run('hex', '--section', 'port92', v4).good().out
    record_line, *lines = said.strip().splitlines()
    offset = int(re.search(r'offset (\d+)', record_line).group(1))
    size = int(re.search(r'(\d+) bytes', record_line).group(1)) + 28
    shown = bytes.fromhex(''.join(line[9:59] for line in lines))
    with open(v4, 'rb') as file:
        file.seek(offset)
        equal(shown, file.read(size), 'bytes of the section')
    run('hex', '--section', 'port9', v4).bad("there is no section 'port9'")
    run('hex', v3).bad('the bytes of version 4 only can be told apart')


def hex_all():
    said = run('hex', v4).good().out
    equal(len(re.findall(r'record at offset', said)),
          info4['stream']['records'], 'records')


def info_v3():
    said = run('info', v3).good().out
    check('version 3, of machine pc-q35-7.2' in said, said)
    check('nothing can be told apart' in said, said)
    equal(sum(all_bytes(said)), v3.stat().st_size, 'sum of all rows')


def same_devices():
    """Both versions have the same devices, but for ram."""
    sections = rows(run('info', v4).out)
    sections.pop(('ram', 0))
    equal(list(rows(run('info', v3).out)), list(sections), 'devices')


def verify(path, version):
    said = run('verify', path).good().out
    equal(said.count('\n'), 1, 'lines')
    check(said.startswith(f'{path}: good: version {version}, '), said)
    check(f'{path.stat().st_size} bytes' in said, said)
    equal('no checksums' in said, version == 3, 'a word on checksums')


def verify_several():
    """Each file has its line, a bad one does not stop it."""
    with tempdir() as other:
        bad = other / 'bad'
        bad.write_bytes(v4.read_bytes()[:-1])
        done = run('verify', v4, bad, v3, other / 'none').bad(str(bad), 'none')
    equal(re.findall(r'^(.*): good', done.out, re.M), [str(v4), str(v3)],
          'good ones')
    equal(done.err.count('\n'), 2, 'lines of messages')


def standard_input():
    for path in v4, v3:
        with open(path, 'rb') as stream:
            run('verify', '-', stdin=stream).good()
        piped = run('verify', '-', stdin=path.read_bytes()).good()
        check(piped.out.startswith('standard input: good'), piped.out)
        equal(dump('-', stdin=path.read_bytes()), dump(path), 'dump')


def dump_values(path, version, known):
    said = dump(path)
    equal((said['version'], said['skipped']), (version, []), 'head')
    state = {(d['name'], d['instance']): d['fields'] for d in said['devices']}
    equal(state['globalstate', 0]['runstate'][:20], b'prelaunch\0'.hex(),
          'run state')
    cpu = state['cpu', 0]
    equal(cpu['env.eip'], known['eip'], 'EIP')
    equal(cpu['env.efer'], known['efer'], 'EFER')
    equal(len(cpu['env.regs']), 16, 'number of registers')
    channels = state['i8254', 0]['channels']
    equal([c['count'] for c in channels], [65536] * 3, 'i8254')
    equal(state['mc146818rtc', 0]['periodic_timer'], -1, 'a timer at rest')
    hda = [d for d in said['devices'] if d['name'].endswith('/ich9_ahci')]
    equal(len(hda[0]['fields']['ahci']['dev']), 6, 'ports of the AHCI')


def dumps_agree():
    """The devices are in the same state in both versions."""
    old, new = ({(d['name'], d['instance']): d for d in dump(p)['devices']}
                for p in (v3, v4))
    equal(list(old), list(new), 'devices')
    differ = []
    for key, device in old.items():
        if not BY_HAND.search(key[0]):
            differ += set(leaves(device['fields'])) ^ set(
                leaves(new[key]['fields']))
    equal(differ, [], 'what differs')


def leaves(value, path=''):
    """The values in a state with their paths, without those that depend on
    when the machine was made.  In version 4 the structure of a field of type
    'tmp' is under its own name, and arrays without elements are there."""
    if UNSTEADY.search(path):
        return []
    if isinstance(value, dict):
        return [leaf for name, part in value.items()
                for leaf in leaves(inner(name, part), f'{path}.{name}')]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part, f'{path}[]')]
    return [(path, value)]


def inner(name, value):
    if name.startswith('tmp') and isinstance(value, dict) and len(value) == 1:
        value, = value.values()
    return value


def virtio_is_open():
    """Version 4 shows what is in a virtio device."""
    net = next(d['fields'] for d in dump(v4)['devices']
               if d['name'].endswith('/virtio-net'))
    device = net['virtio']
    for part in 'transport', 'common', 'queues', 'device', 'virtio':
        check(part in device, f'{part} is missing in {list(device)}')
    check('PCIDevice' in device['transport'], device['transport'])
    check('virtio/virtqueues' in device['virtio']['subsections'],
          list(device['virtio']))


def one_section(name, *expected):
    for path in v3, v4:
        equal([(d['name'], d['instance'])
               for d in dump('--section', name, path)['devices']],
              list(expected), 'devices')


def no_section():
    for path in v3, v4:
        run('dump', path, '--section', 'dma/7').bad(
            "'dma/7'", 'dma/0', 'dma/1', 'i8254/0')


def wrong_use(*arguments, words=()):
    done = run(*arguments).bad('--help', *words, status=2)
    equal(done.out, '', 'stdout')


def help_of(command, *words):
    said = run(*command, '--help').good().out
    for word in ('Usage: qemu-vmstate', *words):
        check(word in said, f'{word!r} is missing in {said!r}')


def config():
    """The machine is QEMU's own, and nothing behind it is read."""
    machine = json.loads(run('config', v4).good().out)
    known = known4['machine']
    equal(machine, known, 'machine')
    with open(v4, 'rb') as stream:
        start = stream.read(v4.stat().st_size // 4 * 3)
    equal(json.loads(run('config', '-', stdin=start).good().out), known,
          'machine of a stream that is cut short')
    run('config', '-', stdin=start[:2000]).bad('ends too early')
    run('config', v3).bad('a stream of version 3 does not say what machine')


def command_line():
    """A line for a shell; interop/command_lines.py starts what it says."""
    said = run('config', '--command-line', v4).good().out
    equal(said.count('\n'), 1, 'lines')
    program, *words = shlex.split(said)
    equal((program, words[:3]), ('qemu-system-x86_64',
                                 ['-nodefaults', '-machine', words[2]]), said)
    check(words[2].startswith(f'{V4},memory.size=16777216,'), words[2])
    devices = [json.loads(words[i + 1]) for i, word in enumerate(words)
               if word == '-device']
    equal([d['driver'] for d in devices], DEVICES[1::2], 'devices')
    check(all('addr' in d and d['bus'] == 'pcie.0' for d in devices), devices)
    run('config', '--command-line', v3).bad('a stream of version 3')


def unreadable():
    with tempdir() as directory:
        run('info', directory / 'none').bad('none: cannot open')
        run('dump', directory).bad('cannot read')
        empty = directory / 'empty'
        empty.touch()
        run('verify', empty).bad('ends too early')
    run('verify', BUILT).bad('no migration stream', '0x7f454c46')
    run('info', '-', stdin=b'QEVM\0\0\0\5').bad('version 5', '3 or 4')


def full_disk():
    with open('/dev/full', 'wb') as full:
        done = subprocess.run([TOOL, 'dump', v4], stdout=full, check=False,
                              stderr=subprocess.PIPE, env=environment(),
                              timeout=60)
    equal(done.returncode, 1, 'exit status')
    check(b'cannot write' in done.stderr, done.stderr)


def progress():
    """On a terminal, how far it is; the size only where that is known."""
    def fed(pieces, stdin, feed=None):
        ours, theirs = pty.openpty()
        with spawn([TOOL, 'verify', '-'], stdin=stdin, stderr=theirs,
                   stdout=subprocess.PIPE, env=environment()) as process:
            os.close(theirs)
            for piece in pieces:
                feed.write(piece)
                feed.flush()
                time.sleep(1.2)
            if feed:
                feed.close()
            said = process.stdout.read()
            process.wait(30)
        try:
            shown = os.read(ours, 1 << 16).decode()
        except OSError:
            shown = ''
        os.close(ours)
        check(b'good' in said, said)
        return shown

    data = v4.read_bytes()
    read, write = os.pipe()
    with open(read, 'rb') as stdin, open(write, 'wb') as feed:
        shown = fed([data[:1000], data[1000:2000], data[2000:]], stdin, feed)
    check(re.search(r'standard input: [\d.]+ \w*B', shown), repr(shown))
    check('%' not in shown, repr(shown))
    check(shown.endswith('\r\x1b[K'), repr(shown))
    # It is soon through, at least once on a machine that is busy
    for _ in range(5):
        with open(v4, 'rb') as stdin:
            shown = fed([], stdin)
        if not shown:
            break
    equal(shown, '', 'what a short one shows')


with Tap('qemu-vmstate on real streams') as tap, tempdir() as place:
    v3, v4 = place / 'v3', place / 'v4'
    info3, known3 = record(v3, V3, *DEVICES, prepare=known_of)
    info4, known4 = record(v4, V4, *DEVICES, prepare=known_of)
    tap.case('info, version 4', info_v4)
    tap.case('info, version 3', info_v3)
    tap.case('info has the same devices for both', same_devices)
    tap.case('verify, version 4', verify, v4, 4)
    tap.case('verify, version 3', verify, v3, 3)
    tap.case('verify of several files', verify_several)
    tap.case('standard input, a file and a pipe', standard_input)
    tap.case('dump, version 4', dump_values, v4, 4, known4)
    tap.case('dump, version 3', dump_values, v3, 3, known3)
    tap.case('dump of both versions agrees', dumps_agree)
    tap.case('dump opens virtio devices', virtio_is_open)
    tap.case('dump of a section', one_section, 'i8254', ('i8254', 0))
    tap.case('dump of a section that is there twice', one_section, 'dma',
             ('dma', 0), ('dma', 1))
    tap.case('dump of one of these', one_section, 'dma/1', ('dma', 1))
    tap.case('dump of a section with a path', one_section,
             '0000:00:1f.0/ICH9LPC/0', ('0000:00:1f.0/ICH9LPC', 0))
    tap.case('dump of a section that is not there', no_section)
    tap.case('no command', wrong_use)
    tap.case('unknown command', wrong_use, 'frob', words=["'frob'"])
    tap.case('no file', wrong_use, 'verify', words=['verify: no file'])
    tap.case('too many files', wrong_use, 'info', 'a', 'b', words=['got 2'])
    tap.case('unknown option', wrong_use, 'info', '--all', 'a',
             words=["'--all'"])
    tap.case('option of another command', wrong_use, 'info', '--section', 'a',
             'b', words=["'--section'"])
    tap.case('option without its value', wrong_use, 'dump', '--section',
             words=['needs a value'])
    tap.case('the machine', config)
    tap.case('a command line that makes it', command_line)
    tap.case('--command-line of another command', wrong_use, 'info',
             '--command-line', 'a', words=["'--command-line'"])
    tap.case('the bytes of a section', hex_section)
    tap.case('the bytes of all records', hex_all)
    tap.case('help', help_of, [], 'info', 'verify', 'dump', 'hex')
    tap.case('help of hex', help_of, ['hex'], '--section')
    tap.case('help of config', help_of, ['config'], '--command-line')
    tap.case('help of info', help_of, ['info'], 'FILE')
    tap.case('help of verify', help_of, ['verify'], 'FILE...')
    tap.case('help of dump', help_of, ['dump'], '--section')
    tap.case('what is no stream, or cannot be read', unreadable)
    tap.case('output that cannot be written', full_disk)
    tap.case('progress on a terminal', progress)
