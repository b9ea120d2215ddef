/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest that does nothing but change its memory, so many pages in a second:
 *
 *     -kernel dirtier -append 'FIRST PAGES RATE'
 *
 * It goes round over PAGES pages from the one at FIRST bytes on, changes a word
 * in each, and counts them in the 64 bits at COUNTER.  RATE pages in a second;
 * 0 as many as it can.
 *
 * The bootloader is QEMU's own for multiboot; the clock is the power management
 * timer, which goes on after a migration as if nothing had been.
 */

#include "../guest/multiboot.h"

#define PAGE 4096
#define COUNTER ((volatile uint64_t *)0x90000)

/* Pages between two looks at the clock */
#define BATCH 16

__attribute__((noreturn, used))
static void run(const struct info *info)
{
    /* It begins with the name of the file. */
    const char *text = info->command_line;
    uint32_t first = number(&text);
    uint32_t pages = number(&text);
    uint32_t rate = number(&text);
    uint32_t last = timer();
    uint32_t at = 0;
    uint64_t due = 0;       /* pages times ticks in a second */

    *COUNTER = 0;
    for (;;) {
        for (uint32_t i = 0; i < BATCH; i++) {
            volatile uint64_t *word = (void *)(first + at * PAGE);

            *word += 0x9e3779b97f4a7c15;
            at = at + 1 < pages ? at + 1 : 0;
        }
        *COUNTER += BATCH;
        while (rate) {
            uint32_t now = timer();
            uint32_t passed = (now - last) & TIMER_MASK;

            last = now;
            /* What was missed while it stood still is not made up for. */
            if (passed > TIMER_HZ / 100) {
                passed = TIMER_HZ / 100;
            }
            due += (uint64_t)passed * rate;
            if (due >= (uint64_t)BATCH * TIMER_HZ) {
                due -= (uint64_t)BATCH * TIMER_HZ;
                break;
            }
        }
    }
}
