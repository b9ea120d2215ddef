#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices tested alone, and a table of what came of it.

  check.py [--seed N]... [--machine TYPE]... [DEVICE]...

Without DEVICE all that can be made on these machines, and what is on the
boards by itself (board/...).  The exit status is 1 if anything is lost that is
not known to be.  `make check-device` gives DEVICE and SEED in the environment,
words of each.
"""

import argparse
import collections
import concurrent.futures
import os
import sys

from device import examine, known, made

MACHINES = 'pc-i440fx-7.2-v4', 'pc-q35-7.2-v4'
WORKERS = 2
SEED = 1
SHOWN = 12          # of what is new, for each device
WIDTHS = 32, 7, 30, 12, 6, 5, 7, 24


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0])
    parser.add_argument('--seed', type=int, action='append')
    parser.add_argument('--machine', action='append')
    parser.add_argument('device', nargs='*')
    given = parser.parse_args()
    given.device += os.environ.get('DEVICE', '').split()
    given.seed = (given.seed or []) + [
        int(word) for word in os.environ.get('SEED', '').split()]
    return given


def jobs(chosen, machines):
    """(device, machine) for all that can be looked at."""
    devices = made.devices()
    for machine in machines:
        for device in [*devices, *made.of_board(machine)]:
            if device.driver in chosen or not (chosen or device.why_not()):
                yield device, machine


def versions(result):
    """Which sections a device has, with the versions that can be saved."""
    said = []
    for section in result.sections or ():
        name = section['name'].rpartition('/')[2]
        newest = section['version']
        oldest = examine.oldest_saved(section)
        said.append(f'{name} {newest}' if oldest == newest else
                    f'{name} {oldest}..{newest}')
    return ', '.join(said)


def line(cells):
    return ' '.join(str(cell).ljust(width) for cell, width
                    in zip(cells, WIDTHS)).rstrip()


def table(results):
    """Prints it as it becomes known; all results."""
    rule = line('=' * width for width in WIDTHS)
    print(rule, line(['device', 'machine', 'versions', 'combinations',
                      'states', 'loads', 'refused', 'result']), rule,
          sep='\n', flush=True)
    seen = []
    for result in results:
        seen.append(result)
        print(line([result.device, 'q35' if 'q35' in result.machine else 'pc',
                    versions(result) or '\\', result.combinations,
                    result.states, result.loads, result.refused,
                    result.verdict()]), flush=True)
    print(rule)
    return seen


def lost(results):
    """Prints what is lost: what is known in a line each, the rest in full."""
    reasons = collections.Counter(
        (result.device, key[0], known.lost(result.device, *key).why)
        for result in results for key in result.lost())
    for (device, version, why), count in reasons.items():
        print(f'known  {device}, version {version}: {why} '
              f'({count} differences)')
    for result in results:
        for key in result.new()[:SHOWN]:
            print(f'NEW    {result.device}, version {key[0]}: {key[1]}\n'
                  f'       {result.findings[key][:400]}')


def main():
    given = arguments()
    states = [examine.RESET, *(given.seed or [SEED])]
    chosen = list(jobs(given.device, given.machine or MACHINES))
    unknown = set(given.device) - {device.driver for device, _ in chosen}
    if unknown:
        sys.exit(f'check-device: QEMU has no {", ".join(sorted(unknown))}')
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        results = table(pool.map(
            lambda job: examine.examine(*job, states), chosen))
    lost(results)
    new = sum(bool(result.new()) for result in results)
    print(f'{len(results)} devices, {new} of them with something new')
    sys.exit(1 if new else 0)


if __name__ == '__main__':
    main()
