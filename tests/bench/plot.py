# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines in a picture: SVG, written by hand.

A panel has a title, a label for each axis and lines; a line has a name and
points (x, y).  The x of a panel are few, and stand at equal distances.
"""

import html

WIDTH, HEIGHT, MARGIN = 380, 300, 56
COLOURS = ['#888888', '#1f5fa8', '#c2571a', '#2c8a4b']


def _text(x, y, words, anchor='middle', size=12, extra=''):
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" '
            f'text-anchor="{anchor}"{extra}>{html.escape(words)}</text>')


def _step(top):
    """A round distance between lines of a grid up to there."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if top / step <= 6:
            return step
    return top


def _panel(left, title, across, up, lines):
    xs = sorted({x for _, points in lines for x, _ in points})
    top = max(y for _, points in lines for _, y in points) * 1.1
    width, height = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN

    def at(x, y):
        part = xs.index(x) / max(1, len(xs) - 1)
        return left + MARGIN + part * width, HEIGHT - MARGIN - y / top * height

    yield _text(left + WIDTH / 2, 24, title, size=14)
    yield _text(left + WIDTH / 2, HEIGHT - 14, across)
    yield _text(left + 14, HEIGHT / 2, up, extra=f' transform="rotate(-90 '
                f'{left + 14} {HEIGHT / 2:.0f})"')
    step = _step(top)
    for n in range(int(top / step) + 1):
        x, y = at(xs[0], n * step)
        yield (f'<line x1="{x:.0f}" y1="{y:.1f}" x2="{x + width:.0f}" '
               f'y2="{y:.1f}" stroke="#dddddd"/>')
        yield _text(x - 6, y + 4, f'{n * step:g}', 'end')
    for x in xs:
        yield _text(*at(x, 0)[:1], HEIGHT - MARGIN + 18, f'{x:g}')
    for colour, (_, points) in zip(COLOURS, lines):
        path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in
                        (at(*point) for point in sorted(points)))
        yield (f'<polyline points="{path}" fill="none" stroke="{colour}" '
               'stroke-width="2"/>')
        for point in points:
            x, y = at(*point)
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def svg(panels):
    """The picture.  panels: (title, across, up, [(name, [(x, y)])])"""
    width, height = WIDTH * len(panels), HEIGHT + 28
    out = ['<svg xmlns="http://www.w3.org/2000/svg" '
           f'viewBox="0 0 {width} {height}" width="{width}" '
           f'height="{height}" font-family="sans-serif">',
           '<!-- SPDX-License-Identifier: GPL-2.0-or-later -->',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for number, panel in enumerate(panels):
        out += _panel(number * WIDTH, *panel)
    for number, (name, _) in enumerate(panels[0][3]):
        x = 20 + number * width / 4
        out.append(f'<rect x="{x:.0f}" y="{HEIGHT + 4}" width="14" '
                   f'height="14" fill="{COLOURS[number]}"/>')
        out.append(_text(x + 20, HEIGHT + 16, name, 'start'))
    return '\n'.join([*out, '</svg>', ''])
