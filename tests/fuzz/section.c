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
#include <sanitizer/common_interface_defs.h>
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

/*
 * An input that takes longer, in seconds, hangs; it gets two tries, and
 * libFuzzer waits a while more.
 */
#define HANGS 25

/* Other targets of the same binary have inputs of another kind */
static bool chosen;

/* Where libFuzzer's output goes, though it closes stderr to that of QEMU */
static int report;

static void before_machine(void)
{
    report = dup(STDERR_FILENO);
    counter_shm_init();
}

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
        uint32_t length = ldl_be_p(data + at + 8);

        if (lduw_be_p(data + at) == STREAM_RECORD_COMMAND) {
            return true;
        }
        at += STREAM_HEADER_SIZE + (uint64_t)length;
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

/*
 * QEMU blocks the signal that libFuzzer's own time limit comes with: nobody
 * else takes it, and a fuzzer that hangs would do so for ever.
 */
static void take_alarms(QTestState *s)
{
    sigset_t alarm;

    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
}

/* Where it hangs is what libFuzzer then shows, and it keeps the input */
static void hangs(int signal)
{
    abort();
}

/* The status that a copy of the process ends with, having loaded the input */
static int try_load(QTestState *s, const uint8_t *data, size_t size,
                    void (*at_alarm)(int signal))
{
    int status = 0;
    pid_t child, ended;

    child = fork();
    if (child < 0) {
        perror("fork");
        exit(1);
    }
    if (!child) {
        /* One that hangs must not outlive the fuzzer, which gives up on it */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* Or a sanitizer closes it, and opens a file of its own instead */
        __sanitizer_set_report_fd((void *)(intptr_t)report);
        signal(SIGALRM, at_alarm);
        alarm(HANGS);
        adopt_cpus();
        load(data, size);
        flush_events(s);
        _exit(0);
    }
    /* libFuzzer's alarm comes in between, and looks at how long it takes */
    TFR(ended = waitpid(child, &status, 0));
    if (ended != child) {
        perror("waitpid");
        exit(1);
    }
    return status;
}

static void section_fuzz(QTestState *s, const unsigned char *data, size_t size)
{
    int status;

    if (!size || has_command(data, size)) {
        return;
    }
    /*
     * A lock of ASan's allocator that another thread (RCU's, libFuzzer's own)
     * held at the fork stays taken in the copy, which then hangs at its first
     * allocation: what hangs once may be no fault of the input's.
     */
    status = try_load(s, data, size, SIG_DFL);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        status = try_load(s, data, size, hangs);
    }
    if (status) {
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
        .pre_vm_init = before_machine,
        .pre_fuzz = take_alarms,
        .fuzz = section_fuzz,
        .crossover = forge_cross,
    });
}

fuzz_target_init(section_register);
