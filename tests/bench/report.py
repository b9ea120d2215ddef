# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns what was measured into medians, ratios and tables."""

import os
import platform
import statistics
import subprocess

GIB = 1 << 30


def facts():
    """What the figures depend on: the machine, and what else it does."""
    with open('/proc/cpuinfo', encoding='ascii') as cpuinfo:
        model = next((line.partition(':')[2].strip() for line in cpuinfo
                      if line.startswith('model name')), 'unknown')
    with open('/proc/meminfo', encoding='ascii') as meminfo:
        memory = int(meminfo.readline().split()[1]) << 10
    return {
        'cpu': model,
        'cores': os.cpu_count(),
        'memory': f'{memory / GIB:.1f} GiB',
        'kernel': platform.release(),
        'load': os.getloadavg()[0],
    }


def version(binary):
    out = subprocess.run([binary, '--version'], check=True, timeout=60,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         text=True).stdout
    return out.splitlines()[0]


def spread(values, digits=2):
    """'median [lowest..highest]'"""
    return (f'{statistics.median(values):.{digits}f} '
            f'[{min(values):.{digits}f}..{max(values):.{digits}f}]')


def table(head, rows):
    """Lines of a table; the first column is text, the others figures."""
    rows = [head, *rows]
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    for row in rows:
        yield '  '.join([row[0].ljust(widths[0]),
                         *(cell.rjust(width) for cell, width
                           in zip(row[1:], widths[1:]))]).rstrip()


def figures(runs, size):
    """The table of one workload.  runs: {name: [round]}"""
    def column(rounds, key, digits=2, scale=1):
        if key not in rounds[0]:
            return '-'
        return spread([one[key] * scale for one in rounds], digits)

    head = ['', 'seconds', 'GiB/s', 'CPU s/GiB source', 'destination',
            'downtime ms', 'MiB sent']
    rows = []
    for name, rounds in runs.items():
        rows.append([
            name,
            column(rounds, 'seconds'),
            spread([size / GIB / one['seconds'] for one in rounds]),
            column(rounds, 'source_cpu'),
            column(rounds, 'destination_cpu'),
            column(rounds, 'downtime', 0, 1000),
            f'{statistics.median(one["bytes"] for one in rounds) / 2**20:.1f}',
        ])
    return table(head, rows)


# What of two is compared: its key, and how long it has to be. CPU time and
# downtime are told in so coarse steps that of short ones there is no ratio.
COMPARED = {
    'throughput': ('seconds', 0),
    'CPU source': ('source_cpu', 0.01),
    'CPU destination': ('destination_cpu', 0.01),
    'downtime': ('downtime', 0.01),
}


def ratios(rounds, base):
    """{what: [ratio of each pair]}; a pair ran one right after the other."""
    found = {}
    for what, (key, least) in COMPARED.items():
        pairs = [(one.get(key, 0), other[key])
                 for one, other in zip(rounds, base)]
        if all(min(pair) > least for pair in pairs):
            found[what] = [other / one if what == 'throughput' else
                           one / other for one, other in pairs]
    return found


def comparison(runs, base):
    """The table of ratios to the run called base, pair by pair."""
    rows = []
    for name, rounds in runs.items():
        if name == base:
            continue
        found = ratios(rounds, runs[base])
        rows.append([name, *(spread(found[what], 3) if what in found else '-'
                             for what in COMPARED)])
    return table([f'ratio to {base}', *COMPARED], rows)


def compared(runs, name, base, key):
    """The ratios of a figure to that of base, pair by pair; '-' for itself."""
    if name == base:
        return '-'
    return spread([one[key] / other[key]
                   for one, other in zip(runs[name], runs[base])])


def devices(runs, base):
    """The table of the state of devices."""
    rows = []
    for name, rounds in runs.items():
        rows.append([name, *(spread([one[key] * 1000 for one in rounds], 1)
                             for key in ('saved', 'loaded')),
                     f'{rounds[0]["bytes"]}',
                     *(compared(runs, name, base, key)
                       for key in ('saved', 'loaded', 'bytes'))])
    return table(['', 'ms to save', 'ms to load', 'bytes',
                  'ratio to save', 'to load', 'bytes'], rows)


def distance(runs, base):
    """The table of migrations over a link that takes its time."""
    rows = []
    for name, rounds in runs.items():
        rows.append([name, spread([one['seconds'] for one in rounds]),
                     *(spread([one[key] * 1000 for one in rounds], 0)
                       for key in ('still', 'reported')),
                     *(compared(runs, name, base, key)
                       for key in ('seconds', 'still'))])
    return table(['', 'seconds', 'ms nobody ran it', 'downtime ms reported',
                  'ratio of seconds', 'of ms nobody ran it'], rows)


def speed(rounds):
    """The median throughput of migrations, in GiB/s."""
    return statistics.median(one['memory'] / GIB / one['seconds']
                             for one in rounds)


def speeds(runs):
    """The table of throughput alone."""
    return table(['', 'GiB/s', 'CPU s/GiB source', 'destination'],
                 [[name, spread([one['memory'] / GIB / one['seconds']
                                 for one in rounds]),
                   *(spread([one[key] for one in rounds])
                     for key in ('source_cpu', 'destination_cpu'))]
                  for name, rounds in runs.items()])


def dirtying(runs, base):
    """The table of guests that change their memory all the time."""
    rows = []
    for name, rounds in runs.items():
        rows.append([name, spread([one['seconds'] for one in rounds]),
                     *(spread([one[key] * 1000 for one in rounds], 0)
                       for key in ('still', 'downtime')),
                     spread([one['rounds'] for one in rounds], 0),
                     *(compared(runs, name, base, key)
                       for key in ('seconds', 'still'))])
    return table(['', 'seconds', 'ms nobody ran it', 'downtime ms reported',
                  'passes', 'ratio of seconds', 'of ms nobody ran it'], rows)


def busy(runs, base):
    """The table of what a guest gets done while it is sent."""
    rows = []
    for name, rounds in runs.items():
        rows.append([name, *(spread([one[key] / 1e6 for one in rounds], 1)
                             for key in ('before', 'during')),
                     spread([one['left'] for one in rounds]),
                     spread([one['seconds'] for one in rounds]),
                     '-' if name == base else
                     spread([one['left'] / other['left'] for one, other
                             in zip(rounds, runs[base])])])
    return table(['', 'millions in a second before', 'during', 'left',
                  'seconds', 'ratio of what is left'], rows)


def machine(runs, starts):
    """What comes before the memory, and how long a machine takes to start."""
    theirs, ours = runs.values()
    name = list(runs)[-1]
    for title, rounds in runs.items():
        yield (f'{title}: before the memory '
               f'{spread([one["before"] * 1e3 for one in rounds])} ms')
    more = [b['before'] - a['before'] for a, b in zip(theirs, ours)]
    yield f'{name}: that is {spread([one * 1e3 for one in more])} ms more'
    for part, words in (('machine', 'of it for the machine'),
                        ('describe', 'to collect it and write it'),
                        ('read', 'to read it'),
                        ('compare', 'to collect the other one and compare')):
        yield (f'{name}: {words} '
               f'{spread([one[part] * 1e3 for one in ours])} ms')
    yield f'{name}: {ours[0]["bytes"]} bytes of description'
    for how in 'given', 'adopted':
        yield (f'{name}: ready when {how} after '
               f'{spread([one[how] * 1e3 for one in starts], 0)} ms')
    ratios = [one['adopted'] / one['given'] for one in starts]
    yield f'{name}: adopted to given {spread(ratios)}'


def verify(runs):
    """The table of reading a stream from the page cache."""
    return table(['', 'GiB/s', 'CPU s/GiB'], [[
        f'{runs[0]["bytes"] >> 20} MiB',
        spread([run['bytes'] / GIB / run['seconds'] for run in runs]),
        spread([run['cpu'] / run['bytes'] * GIB for run in runs])]])


def pins(rows):
    """The table of registered memory. rows: what pin.c prints, split."""
    return table(['', 'ms to register', 'ms to return', 'MiB before',
                  'MiB after'], rows)


def checksums(rows):
    """The table of the checksums. rows: what crc32c.c prints, split."""
    return table(['', 'polynomial', 'block KiB', 'GB/s in cache',
                  'GB/s out of it'],
                 [[name, polynomial, str(int(block) >> 10), hot, cold]
                  for name, polynomial, block, hot, cold in rows])
