# SPDX-License-Identifier: GPL-2.0-or-later
"""Two dumps of a machine's devices, field by field."""


def differences(one, other):
    """Yields (section, path of the field, value, value)."""
    for key in one:
        if key not in other:
            yield key[0], '', 'sent', 'not sent'
        else:
            for path, *values in _inside(one[key], other[key], ''):
                yield key[0], path, *values
    for key in other:
        if key not in one:
            yield key[0], '', 'not sent', 'sent'


def _inside(one, other, path):
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*one, *other]):
            yield from _inside(one.get(name), other.get(name),
                               f'{path}/{name}' if path else name)
    elif isinstance(one, list) and isinstance(other, list):
        for index in range(max(len(one), len(other))):
            yield from _inside(
                one[index] if index < len(one) else None,
                other[index] if index < len(other) else None,
                f'{path}[{index}]')
    elif one != other:
        yield path, one, other
