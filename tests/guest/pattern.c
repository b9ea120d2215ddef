/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that rewrites and checks its memory, so many pages in a second:
 *
 *     -kernel pattern -append 'FIRST PAGES RATE'
 *
 * It goes round over PAGES pages from the one at FIRST bytes on.  Each word of a
 * page has to be what it wrote there the last time; then it writes others.  What
 * it has found is at COUNTERS.  RATE pages in a second; 0 as many as it can.
 * The first words of the HOT pages behind them it writes all the time, so that
 * there is always something to send.
 *
 * The bootloader is QEMU's own for multiboot; the clock is the power management
 * timer, which goes on after a migration as if nothing had been.
 */

#include "multiboot.h"

#define PAGE 4096
#define WORDS (PAGE / 4)
#define HOT 64

struct counters {
    uint64_t pages;         /* rewritten so far */
    uint32_t errors;        /* words that were wrong */
    uint32_t where;         /* the address of the first of them */
};
#define COUNTERS ((volatile struct counters *)0x90000)

/* What word 0 of a page is; one in eight times a page is all zeros */
static uint32_t seed(uint32_t page, uint32_t generation)
{
    uint32_t mix = (page * 0x9e3779b9) ^ (generation * 0x85ebca6b);

    mix ^= mix >> 15;
    return mix % 8 ? mix * 0xc2b2ae35 | 1 : 0;
}

static void expect(volatile uint32_t *word, uint32_t value)
{
    if (*word != value) {
        if (!COUNTERS->errors) {
            COUNTERS->where = (uint32_t)word;
        }
        COUNTERS->errors++;
    }
}

static void check(volatile uint32_t *data, uint32_t first)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        expect(&data[i], first * (i + 1));
    }
}

static void fill(volatile uint32_t *data, uint32_t first)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        data[i] = first * (i + 1);
    }
}

static void warm(volatile uint32_t *hot, uint32_t beat)
{
    for (uint32_t i = 0; i < HOT; i++) {
        expect(&hot[i * WORDS], beat);
        hot[i * WORDS] = beat + 1;
    }
}

__attribute__((noreturn, used))
static void run(const struct info *info)
{
    /* It begins with the name of the file. */
    const char *text = info->command_line;
    uint32_t first = number(&text);
    uint32_t pages = number(&text);
    uint32_t rate = number(&text);
    uint32_t last = timer();
    uint64_t due = 0;       /* pages times ticks in a second */
    volatile uint32_t *hot = (void *)(first + pages * PAGE);
    uint32_t beat = 0;

    for (uint32_t page = 0; page < pages; page++) {
        fill((void *)(first + page * PAGE), seed(page, 0));
    }
    for (uint32_t i = 0; i < HOT; i++) {
        hot[i * WORDS] = beat;
    }
    COUNTERS->errors = 0;
    COUNTERS->pages = 0;
    for (uint32_t generation = 1;; generation++) {
        for (uint32_t page = 0; page < pages; page++) {
            volatile uint32_t *data = (void *)(first + page * PAGE);

            check(data, seed(page, generation - 1));
            fill(data, seed(page, generation));
            COUNTERS->pages++;
            warm(hot, beat++);
            while (rate) {
                uint32_t now = timer();
                uint32_t passed = (now - last) & TIMER_MASK;

                last = now;
                warm(hot, beat++);
                /* What was missed while it stood still is not made up for. */
                if (passed > TIMER_HZ / 100) {
                    passed = TIMER_HZ / 100;
                }
                due += (uint64_t)passed * rate;
                if (due >= TIMER_HZ) {
                    due -= TIMER_HZ;
                    break;
                }
            }
        }
    }
}
