# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures our QEMU against the distribution's, in one run and in turn.

Each round migrates the same memory with every subject, one right after the
other, and the order is turned round in every other round; what is compared is
compared within rounds. The first round of each workload warms up and is not
counted. Figures go to the screen and, all of them, to a JSON file.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

from bench import (devices, dirtying, machine, plot, report, rounds, targets,
                   verify)
from harness import network
from harness.qemu import BUILT, ROOT, STOCK, tempdir

BASE, OURS = 'distribution, version 3', 'ours, version 4'
SUBJECTS = [
    rounds.Subject(BASE, STOCK, 'pc-q35-7.2', 3),
    rounds.Subject('ours, version 3', BUILT, 'pc-q35-7.2', 3),
    rounds.Subject(OURS, BUILT, 'pc-q35-7.2-v4', 4),
]
TWO = [subject for subject in SUBJECTS if subject.name in (BASE, OURS)]
LIMIT = 'bare sockets'
# Workloads over TLS with a shared key, and the priority that GnuTLS is given
TLS = {'tls': None, 'tls-aes': 'NORMAL:-CIPHER-ALL:+AES-128-GCM'}
NEAR = 256 << 20    # for what is about time and not about memory
PACKETS = [(how, pages) for how in ('summed', 'copied')
           for pages in ('32', '64', '128', '256')]
FAR = 512 << 20     # for a link that takes nine seconds for a GiB
RATE = '1gbit'


def size(text):
    """'512M', '4G' as bytes"""
    unit = {'M': 20, 'G': 30}.get(text[-1:].upper())
    if not unit or not text[:-1].isdigit() or int(text[:-1]) == 0:
        raise argparse.ArgumentTypeError(f'{text}: not a size like 512M or 4G')
    return int(text[:-1]) << unit


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0],
        epilog='Options may also be given in the variable BENCH.')
    parser.add_argument('--size', type=size, default=size('4G'),
                        help='memory of the guest (4G)')
    parser.add_argument('--pairs', type=int, default=5,
                        help='rounds that count (5)')
    parser.add_argument('--workload', action='append',
                        choices=['random', 'zero', 'devices', 'machine',
                                 'verify', 'crc32c', 'pin', 'distance',
                                 'packets', 'dirty', 'busy', 'growth',
                                 *TLS],
                        help='what to measure (all)')
    parser.add_argument('--growth', type=int, action='append',
                        help='GiB of guests that show how it grows (1, 2, 4 '
                             'and 8)')
    parser.add_argument('--delay', type=int, action='append',
                        help='milliseconds that the link takes each way '
                             '(0, 10 and 100)')
    parser.add_argument('--channels', type=int, action='append',
                        help='of multifd, 0 without (0 and 2)')
    parser.add_argument('--output', type=pathlib.Path,
                        default=ROOT / 'build/bench',
                        help='directory of the JSON files (build/bench)')
    parser.add_argument('--limit', required=True, type=pathlib.Path,
                        help='the program built from limit.c')
    parser.add_argument('--crc32c', required=True, type=pathlib.Path,
                        help='the program built from crc32c.c')
    parser.add_argument('--pin', required=True, type=pathlib.Path,
                        help='the program built from pin.c')
    parser.add_argument('--dirtier', required=True, type=pathlib.Path,
                        help='the guest built from dirtier.c')
    parser.add_argument('--docs', type=pathlib.Path,
                        help='directory to which speed.txt and speed.svg go')
    words = sys.argv[1:] + shlex.split(os.environ.get('BENCH', ''))
    found = parser.parse_args(words)
    if found.pairs < 1:
        parser.error('--pairs: at least 1')
    found.workload = found.workload or ['crc32c', 'pin', 'packets', 'devices',
                                        'machine', 'verify', 'distance',
                                        'random', 'zero', *TLS, 'dirty',
                                        'busy', 'growth']
    found.delay = [0, 10, 100] if found.delay is None else found.delay
    found.growth = [1, 2, 4, 8] if found.growth is None else found.growth
    found.channels = [0, 2] if found.channels is None else found.channels
    return found


said = []


def say(*lines):
    said.extend(lines)
    print(*lines, sep='\n', flush=True)


def enough_memory(needed):
    with open('/proc/meminfo', encoding='ascii') as meminfo:
        free = next(int(line.split()[1]) << 10 for line in meminfo
                    if line.startswith('MemAvailable'))
    shm = shutil.disk_usage('/dev/shm').free
    if free < 2.25 * needed or shm < needed:
        sys.exit(f'bench: not enough memory for guests of {needed >> 20} MiB: '
                 f'{free >> 20} MiB available, {shm >> 20} MiB in /dev/shm; '
                 'give a smaller --size')


def in_turn(pairs, once, beside=None, subjects=None):
    """{name: [round]}, the first round left out.  once: of a subject."""
    subjects = subjects or SUBJECTS
    runs = {subject.name: [] for subject in subjects}
    for number in range(pairs + 1):
        order = subjects if number % 2 else subjects[::-1]
        found = {subject.name: once(subject) for subject in order}
        if beside:
            found[LIMIT] = beside()
        if number > 0:
            for name, one in found.items():
                runs.setdefault(name, []).append(one)
    return runs


def state(options, work):
    runs = in_turn(options.pairs,
                   lambda subject: devices.save_and_load(subject, work))
    say('', f'the state of {len(devices.DEVICES)} virtio devices, '
        f'{options.pairs} rounds: median [lowest..highest]',
        *report.devices(runs, BASE))
    return runs


def travelling(options, work):
    ours = [subject for subject in SUBJECTS if subject.name != BASE]
    runs = {subject.name: [] for subject in ours}
    starts = []
    file = machine.record(ours[-1], work)
    for number in range(options.pairs + 1):
        found = {subject.name: machine.before_memory(subject, work)
                 for subject in (ours if number % 2 else ours[::-1])}
        start = machine.ready(ours[-1], file)
        if number > 0:
            starts.append(start)
            for name, one in found.items():
                runs[name].append(one)
    file.unlink()
    say('', f'the machine, with {machine.COUNT} devices, {options.pairs} '
        'rounds: median [lowest..highest]', *report.machine(runs, starts))
    return {'before': runs, 'starts': starts}


def verifying(options, work):
    file = verify.record(work, options.size)
    found = [verify.once(file) for _ in range(options.pairs + 1)][1:]
    file.unlink()
    say('', f'qemu-vmstate verify, {options.pairs} runs: median '
        '[lowest..highest]', *report.verify(found))
    return found


def migrations(options, workload, work):
    image = work / 'memory'
    rounds.fill(image, options.size, workload != 'zero')
    creds = workload in TLS and list(
        rounds.psk_credentials(work / 'tls', TLS[workload]))
    result = {}
    for channels in options.channels:
        runs = in_turn(
            options.pairs,
            lambda subject, channels=channels:
                rounds.migration(subject, image, channels, creds),
            None if creds else
            lambda channels=channels:
                rounds.limit(options.limit, image, channels or 1))
        result[channels] = runs
        how = f'multifd, {channels} channels' if channels else 'no multifd'
        what = f'random memory over {workload}' if creds \
            else f'{workload} memory'
        say('', f'{options.size >> 20} MiB of {what}, stopped, tcp '
            f'loopback, {how}, {options.pairs} rounds: median '
            '[lowest..highest]',
            *report.figures(runs, options.size),
            *report.comparison(runs, BASE))
    image.unlink()
    return result


def distance(options, work):
    image = work / 'memory'
    rounds.fill(image, min(options.size, NEAR), random=True)
    result = {}
    for delay in options.delay:
        runs = in_turn(options.pairs, lambda subject, delay=delay:
                       rounds.journey(subject, image, delay / 1000))
        result[delay] = runs
        say('', f'a running guest, {image.stat().st_size >> 20} MiB, {delay} '
            f'ms each way, {options.pairs} rounds: median [lowest..highest]',
            *report.distance(runs, BASE))
    image.unlink()
    return result


def packets(options, work):
    """Pages that are summed where they are, or copied first."""
    image = work / 'memory'
    rounds.fill(image, options.size, random=True)
    runs = {}
    for number in range(options.pairs + 1):
        for network in '', '-unix':
            for how, pages in (('bare', '256'), *PACKETS):
                one = rounds.limit(options.limit, image, 2, how + network,
                                   pages)
                if number > 0:
                    runs.setdefault(f'{how}{network}, {pages} pages',
                                    []).append({**one, 'memory': options.size})
    image.unlink()
    say('', f'{options.size >> 20} MiB in packets over two bare sockets, '
        f'{options.pairs} rounds', *report.speeds(runs))
    return runs


def guests(options, workload, work):
    """Those that change their memory."""
    image = work / 'memory'
    size = min(options.size, dirtying.LARGEST) if workload == 'dirty' \
        else options.size
    rounds.fill(image, size, random=True)
    result = {}
    for channels in options.channels:
        args = image, options.dirtier, channels
        title = f'{size >> 20} MiB, ' + (f'multifd, {channels} channels'
                                         if channels else 'no multifd')
        if workload == 'busy':
            runs = in_turn(options.pairs, lambda subject, args=args:
                           dirtying.busy(subject, *args), subjects=TWO)
            say('', f'a busy guest, {title}, {options.pairs} rounds',
                *report.busy(runs, BASE))
        else:
            rate = dirtying.just(TWO[0], *args)
            runs = in_turn(options.pairs, lambda subject, args=args:
                           dirtying.dirty(subject, *args, rate), subjects=TWO)
            say('', f'{rate * dirtying.PAGE / 2**20:.0f} MiB/s are dirtied, '
                f'{title}, {options.pairs} rounds',
                *report.dirtying(runs, BASE))
        result[channels] = runs
    image.unlink()
    return result


def growth(options, work):
    """How fast it is with more channels, more memory, and a slow link."""
    def measure(gib, channels):
        if not image.exists() or image.stat().st_size != gib << 30:
            rounds.fill(image, gib << 30, random=True)
        return in_turn(min(options.pairs, 3), lambda subject:
                       rounds.migration(subject, image, channels),
                       subjects=TWO)

    image = work / 'memory'
    found = {'channels': {n: measure(options.growth[0], n)
                          for n in (1, 2, 4, 8)},
             'size': {gib: measure(gib, 2) for gib in options.growth}}
    rounds.fill(image, FAR, random=True)
    with network.limited(RATE):
        found['link'] = {n: in_turn(1, lambda subject, n=n:
                                    rounds.migration(subject, image, n),
                                    subjects=TWO) for n in (0, 2)}
    image.unlink()
    for title, runs in (('channels', found['channels']),
                        ('GiB, 2 channels', found['size']),
                        (f'channels, a link of {RATE}', found['link'])):
        for n, one in runs.items():
            say('', f'{n} {title}', *report.speeds(one))
    return found


def picture(found):
    def lines(runs):
        return [(subject.name,
                 [(n, report.speed(one[subject.name]))
                  for n, one in runs.items()]) for subject in TWO]

    return plot.svg([
        ('by channels', 'channels', 'GiB/s', lines(found['channels'])),
        ('by memory, 2 channels', 'GiB', 'GiB/s', lines(found['size'])),
        (f'a link of {RATE}', 'channels', 'GiB/s', lines(found['link']))])


def lines_of(program):
    return subprocess.run([program], check=True, timeout=300, text=True,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE).stdout.splitlines()


def pin(program):
    rows = [line.rsplit(maxsplit=4) for line in lines_of(program)]
    say('', 'registering 1 GiB of memory', *report.pins(rows))
    return [dict(zip(('memory', 'register_ms', 'return_ms', 'before_mib',
                      'after_mib'), row)) for row in rows]


def crc32c(program):
    rows = [line.split() for line in lines_of(program)]
    say('', 'checksums', *report.checksums(rows))
    return [dict(zip(('name', 'polynomial', 'block', 'hot', 'cold'), row))
            for row in rows]


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Tests have threads share one; here they allocate as they do with people
    os.environ.setdefault('MALLOC_ARENA_MAX', '0')
    options = arguments()
    enough_memory(options.size)
    result = {'facts': report.facts(), 'began': time.time(),
              'size': options.size, 'pairs': options.pairs,
              'versions': {subject.name: report.version(subject.binary)
                           for subject in SUBJECTS}}
    say(*(f'{key}: {value}' for key, value in result['facts'].items()),
        *(f'{key}: {value}' for key, value in result['versions'].items()))
    if result['facts']['load'] > 0.5:
        say('The machine is not quiet: the figures will spread.')
    with tempdir(prefix='/dev/shm/migration-bench-') as work:
        for workload in options.workload:
            if workload == 'crc32c':
                result[workload] = crc32c(options.crc32c)
            elif workload == 'pin':
                result[workload] = pin(options.pin)
            elif workload == 'devices':
                result[workload] = state(options, work)
            elif workload == 'machine':
                result[workload] = travelling(options, work)
            elif workload == 'verify':
                result[workload] = verifying(options, work)
            elif workload == 'packets':
                result[workload] = packets(options, work)
            elif workload in ('dirty', 'busy'):
                result[workload] = guests(options, workload, work)
            elif workload == 'growth':
                result[workload] = growth(options, work)
            elif workload == 'distance':
                result[workload] = distance(options, work)
            else:
                result[workload] = migrations(options, workload, work)
    say('', 'what was asked for', *targets.table(
        result, OURS, {'base': BASE, 'limit': LIMIT}))
    if options.docs:
        (options.docs / 'speed.txt').write_text('\n'.join([*said, '']))
        if 'growth' in result:
            (options.docs / 'speed.svg').write_text(picture(result['growth']))
    result['seconds'] = time.time() - result['began']
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / 'bench.json'
    path.write_text(json.dumps(result, indent=1) + '\n')
    say('', f'All figures are in {path}; {result["seconds"]:.0f} s')


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('bench: interrupted')
