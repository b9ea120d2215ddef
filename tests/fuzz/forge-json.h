/*
 * What two sides of a migration say of themselves: JSON that is wrong in a
 * chosen way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_FORGE_JSON_H
#define TESTS_FUZZ_FORGE_JSON_H

/**
 * forge_json: change a text of JSON
 *
 * One to three members, elements or values are removed, doubled, replaced by
 * one another or by an odd one, or changed in their bytes.  What was JSON is
 * so again, most of the time.
 *
 * @data: the text, changed in place
 * @size: its length, in bytes
 * @max_size: how long it may become, in bytes
 * @seed: what it is that happens follows from this
 *
 * Returns: its new length, in bytes.
 */
size_t forge_json(uint8_t *data, size_t size, size_t max_size,
                  unsigned int seed);

/**
 * forge_json_cross: one text with a part of another in it
 *
 * @out: room for @max_size bytes
 *
 * Returns: the length of the new text, in bytes.
 */
size_t forge_json_cross(const uint8_t *a, size_t a_size,
                        const uint8_t *b, size_t b_size,
                        uint8_t *out, size_t max_size, unsigned int seed);

#endif
