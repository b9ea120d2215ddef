/*
 * Migration stream version 4: any state at all to real devices
 *
 * A whole machine is made once.  For each input a copy of the process loads it
 * as a stream, of a section or a few, and ends: no input finds what another one
 * has left.  A target of QEMU's own fuzzer; the machine's options are in the
 * environment's FUZZ_MACHINE.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/prctl.h>
#include "qemu/bswap.h"
#include "qemu/yank.h"
#include "qapi/error.h"
#include "hw/core/cpu.h"
#include "io/channel-buffer.h"
#include "migration/compat/selector.h"
#include "migration/stream/file.h"
#include "migration/stream/record.h"
#include "migration/migration.h"
#include "migration/savevm.h"
#include "tests/qtest/fuzz/fork_fuzz.h"
#include "tests/qtest/fuzz/fuzz.h"
#include "forge.h"

/* Other targets of the same binary have inputs of another kind */
static bool chosen;

static GString *section_arguments(FuzzTarget *target)
{
    const char *machine = getenv("FUZZ_MACHINE");

    if (!machine) {
        fprintf(stderr, "FUZZ_MACHINE is not set: expected QEMU's options, "
                "which tests/fuzz/run.py gives\n");
        exit(1);
    }
    chosen = true;
    return g_string_new(machine);
}

/*
 * Commands turn postcopy on and the like, which needs another side that
 * answers, and is no device's state.
 */
static bool has_command(const uint8_t *data, size_t size)
{
    size_t at = STREAM_PREAMBLE_SIZE;

    while (at + STREAM_HEADER_SIZE <= size) {
        if (lduw_be_p(data + at) == STREAM_RECORD_COMMAND) {
            return true;
        }
        at += STREAM_HEADER_SIZE + (uint64_t)ldl_be_p(data + at + 8);
    }
    return false;
}

/* The threads of the CPUs have not come along: this one stands in for them */
static void adopt_cpus(void)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        qemu_thread_get_self(cpu->thread);
        cpu->thread_kicked = true;
    }
}

static void load(const uint8_t *data, size_t size)
{
    MigrationIncomingState *mis = migration_incoming_get_current();
    QIOChannelBuffer *wire = qio_channel_buffer_new(size);
    int ret;

    memcpy(wire->data, data, size);
    wire->usage = size;
    mis->from_src_file = migration_stream_input(QIO_CHANNEL(wire));
    object_unref(OBJECT(wire));
    yank_register_instance(MIGRATION_YANK_INSTANCE, &error_abort);
    ret = qemu_loadvm_state(mis->from_src_file);
    if (ret < 0) {
        migration_stream_report_error(mis->from_src_file, ret);
    }
    migration_incoming_state_destroy();
}

static void section_fuzz(QTestState *s, const unsigned char *data, size_t size)
{
    int status;
    pid_t child;

    if (!size || has_command(data, size)) {
        return;
    }
    child = fork();
    if (child < 0) {
        perror("fork");
        exit(1);
    }
    if (!child) {
        /* One that hangs must not outlive the fuzzer, which gives up on it */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        adopt_cpus();
        load(data, size);
        flush_events(s);
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child || status) {
        /* It has told what happened, and has kept the input */
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned int seed)
{
    return chosen ? forge_mutate(data, size, max_size, seed)
                  : LLVMFuzzerMutate(data, size, max_size);
}

static void section_register(void)
{
    fuzz_add_target(&(FuzzTarget) {
        .name = "migration-section",
        .description = "Load sections of migration stream version 4 into the "
                       "devices that FUZZ_MACHINE names",
        .get_init_cmdline = section_arguments,
        .pre_vm_init = counter_shm_init,
        .fuzz = section_fuzz,
        .crossover = forge_cross,
    });
}

fuzz_target_init(section_register);
