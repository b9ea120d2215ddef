/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a guest of a few lines begins: QEMU's multiboot loader jumps to _start,
 * which calls the run() of whoever includes this.
 */

#ifndef TESTS_GUEST_MULTIBOOT_H
#define TESTS_GUEST_MULTIBOOT_H

#include <stdint.h>

#define MAGIC 0x1badb002
#define WANTS_MEMORY 2

/* Where the firmware puts the timer of a q35 machine */
#define TIMER_PORT 0x608
#define TIMER_HZ 3579545
#define TIMER_MASK 0xffffff

struct info {
    uint32_t flags, lower, upper, boot_device;
    const char *command_line;
};

__attribute__((section(".multiboot"), used))
static const uint32_t header[] = { MAGIC, WANTS_MEMORY,
                                   -(uint32_t)(MAGIC + WANTS_MEMORY) };

__asm__(".globl _start\n"
        "_start: mov $0x80000, %esp\n"
        "push %ebx\n"
        "call run\n");

static uint32_t timer(void)
{
    uint32_t value;

    __asm__ volatile("inl %w1, %0" : "=a"(value) : "Nd"(TIMER_PORT));
    return value & TIMER_MASK;
}

/* The next number after a space */
static uint32_t number(const char **text)
{
    uint32_t value = 0;

    while (**text && **text != ' ') {
        (*text)++;
    }
    while (**text == ' ') {
        (*text)++;
    }
    for (const char *p = *text; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
    }
    return value;
}

#endif
