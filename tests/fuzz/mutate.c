/*
 * Migration stream version 4: how libFuzzer changes an input
 *
 * By what it is, which is seen from its beginning, whatever the fuzzer.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "migration/stream/record.h"
#include "forge.h"
#include "forge-json.h"

static bool is_json(const uint8_t *data, size_t size)
{
    return size && data[0] == '{';
}

/* A stream that has no records to be taken apart */
static bool is_older(const uint8_t *data, size_t size)
{
    return size >= STREAM_PREAMBLE_SIZE && ldl_be_p(data) == STREAM_MAGIC &&
           ldl_be_p(data + 4) != STREAM_VERSION;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed)
{
    if (is_json(data, size)) {
        return forge_json(data, size, max_size, seed);
    }
    if (is_older(data, size) && seed % 16) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    return forge_mutate(data, size, max_size, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size,
                                 const uint8_t *b, size_t b_size,
                                 uint8_t *out, size_t max_size,
                                 unsigned int seed)
{
    if (is_json(a, a_size) && is_json(b, b_size)) {
        return forge_json_cross(a, a_size, b, b_size, out, max_size, seed);
    }
    return forge_cross(a, a_size, b, b_size, out, max_size, seed);
}
