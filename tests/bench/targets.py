# SPDX-License-Identifier: GPL-2.0-or-later
"""What was asked for, and what came of it: a table, out of the figures."""

import statistics

from bench import report

RANDOM, PLAIN = ('random', 2), ('random', 0)
LEAST, MOST = 'at least', 'at most'

# What it is about; where it stands among the figures; what is compared, and
# whether the base's figure is the one above or below the line; what is asked
TARGETS = [
    ('random, multifd: throughput to the distribution\'s',
     RANDOM, 'base', 'seconds', LEAST, 1.25),
    ('random, multifd: throughput to the bare limit',
     RANDOM, 'limit', 'seconds', LEAST, 0.9),
    ('random, multifd: CPU s/GiB to the distribution\'s',
     RANDOM, 'base', 'cpu', MOST, 0.95),
    ('random, multifd, TLS with a PSK: throughput',
     ('tls', 2), 'base', 'seconds', LEAST, 6),
    ('random, multifd, TLS with AES-GCM on both: throughput',
     ('tls-aes', 2), 'base', 'seconds', LEAST, 2.6),
    ('zeros, multifd: throughput',
     ('zero', 2), 'base', 'seconds', LEAST, 1.8),
    ('random, no multifd: throughput',
     PLAIN, 'base', 'seconds', LEAST, 1.1),
    ('a guest that just converges: seconds',
     ('dirty', 2), 'base', 'took', MOST, 1),
    ('a guest that just converges: how long nobody ran it',
     ('dirty', 2), 'base', 'still', MOST, 1),
    ('a busy guest: what is left of its work',
     ('busy', 2), 'base', 'left', LEAST, 1),
]

# The ratio of ours to another, one round right beside it
RATIO = {
    'seconds': lambda our, their: their['seconds'] / our['seconds'],
    'took': lambda our, their: our['seconds'] / their['seconds'],
    'still': lambda our, their: our['still'] / their['still'],
    'left': lambda our, their: our['left'] / their['left'],
    'cpu': lambda our, their: (our['source_cpu'] + our['destination_cpu']) /
                              (their['source_cpu'] + their['destination_cpu']),
}


def rows(result, ours, names):
    """(what, asked, found, met) of each that was measured.  names: {'base',
    'limit'}, of what ours is held against"""
    for words, (workload, channels), other, what, sense, asked in TARGETS:
        runs = result.get(workload, {}).get(channels, {})
        if ours not in runs or names[other] not in runs:
            continue
        found = [RATIO[what](our, their) for our, their
                 in zip(runs[ours], runs[names[other]])]
        median = statistics.median(found)
        met = median >= asked if sense == LEAST else median <= asked
        yield words, f'{sense} {asked:g}', report.spread(found), met


def table(result, ours, names):
    return report.table(
        ['', 'asked for', 'median [lowest..highest]', ''],
        [[words, asked, found, 'met' if met else 'MISSED']
         for words, asked, found, met in rows(result, ours, names)])
