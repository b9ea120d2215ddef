/*
 * Migration stream version 4: frames that are wrong in a chosen way
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_FORGE_FRAMES_H
#define TESTS_FUZZ_FORGE_FRAMES_H

/* Every choice is one of these numbers, so that a seed says all */
static inline uint32_t forge_random(uint32_t *state, uint32_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return below ? *state % below : 0;
}

/**
 * forge_bytes: change some bytes in place, or make them more or fewer
 *
 * @payload: of a record
 * @from: where the part that may be changed begins
 */
void forge_bytes(GByteArray *payload, size_t from, uint32_t *random);

/**
 * forge_frames: change one of the frames of a section
 *
 * The lengths of the frames around it follow.
 *
 * @payload: of a record
 * @from: where the state begins, behind the identification
 *
 * Returns: %false, with nothing changed, if there is no frame.
 */
bool forge_frames(GByteArray *payload, size_t from, uint32_t *random);

#endif
