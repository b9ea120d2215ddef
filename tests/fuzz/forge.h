/*
 * Migration stream version 4: streams that are wrong in a chosen way
 *
 * What the fuzzers' inputs are changed by.  An input is taken apart into its
 * records and frames; one or a few of these are changed; then offsets, lengths,
 * checksums and the index are put right again, most of the time.  So nearly
 * every input gets behind the checks that damage fails, to where the content
 * is looked at.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_FORGE_H
#define TESTS_FUZZ_FORGE_H

/**
 * forge_mutate: change a stream
 *
 * @data: the stream, changed in place
 * @size: its length, in bytes
 * @max_size: how long it may become, in bytes
 * @seed: what it is that happens follows from this
 *
 * Returns: its new length, in bytes.
 */
size_t forge_mutate(uint8_t *data, size_t size, size_t max_size,
                    unsigned int seed);

/**
 * forge_cross: a stream of some records of one stream and some of another
 *
 * @out: room for @max_size bytes
 * @seed: which records it are follows from this
 *
 * Returns: the length of the new stream, in bytes.
 */
size_t forge_cross(const uint8_t *a, size_t a_size,
                   const uint8_t *b, size_t b_size,
                   uint8_t *out, size_t max_size, unsigned int seed);

/* What libFuzzer calls, and what it has for us */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size,
                                 const uint8_t *b, size_t b_size,
                                 uint8_t *out, size_t max_size,
                                 unsigned int seed);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
