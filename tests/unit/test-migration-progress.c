/*
 * How far a migration has come, and what holds it back: what follows from
 * which figures
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "migration/ram/progress.h"

#define SECOND 1000000000ull

/* Thousandths of a second */
#define MS(n) ((n) * SECOND / 1000)

/* Two threads that are each on a CPU all the time */
static const RamChannelFigures busy[] = {
    { .cpu = MS(990), .writing = MS(600) },
    { .cpu = MS(950), .writing = MS(600) },
};

/* 1 GiB of 4 was sent within a second, the guest does nothing */
static RamProgressFigures figures(void)
{
    return (RamProgressFigures) {
        .interval = SECOND,
        .bytes = 1 * GiB, .memory = 1 * GiB,
        .done = 1 * GiB, .remaining = 3 * GiB,
        .downtime = 300,
        .channels = busy, .n_channels = ARRAY_SIZE(busy),
    };
}

static void test_rates(void)
{
    RamProgressFigures f = figures();
    RamProgress p = ram_progress_judge(&f);

    g_assert_cmpuint(p.percent, ==, 25);
    g_assert_cmpuint(p.throughput, ==, 1 * GiB);
    g_assert_true(p.ends);
    g_assert_cmpuint(p.left, ==, 3000);
    g_assert_true(p.stops);
    g_assert_cmpuint(p.downtime, ==, 300);

    /* In half the time, and of zeros that hardly take a byte */
    f.interval = SECOND / 2;
    f.bytes = 1 * MiB;
    p = ram_progress_judge(&f);
    g_assert_cmpuint(p.throughput, ==, 2 * MiB);
    g_assert_cmpuint(p.left, ==, 1500);

    /* What is left takes less than is allowed. */
    f.remaining = 64 * MiB;
    p = ram_progress_judge(&f);
    g_assert_cmpuint(p.downtime, ==, 31);
}

static void test_dirty(void)
{
    RamProgressFigures f = figures();
    RamProgress p;

    /* Half of each pass is to be sent again: 3 + 1.5 + 0.75 ... */
    f.dirty_rate = GiB / 2;
    p = ram_progress_judge(&f);
    g_assert_cmpuint(p.percent, ==, 14);
    g_assert_true(p.ends);
    g_assert_cmpuint(p.left, ==, 6000);
    g_assert_cmpint(p.by, ==, MIGRATION_BOTTLENECK_SOURCE_CPU);

    f.dirty_rate = 1 * GiB;
    p = ram_progress_judge(&f);
    g_assert_false(p.ends);
    g_assert_true(p.held);
    g_assert_cmpint(p.by, ==, MIGRATION_BOTTLENECK_DIRTY_RATE);
    g_assert_cmpuint(p.downtime, ==, 3000);

    /* At the destination the guest's writes do not matter. */
    f.postcopy = true;
    p = ram_progress_judge(&f);
    g_assert_true(p.ends);
    g_assert_cmpuint(p.left, ==, 3000);
    g_assert_false(p.stops);
    g_assert_cmpint(p.by, ==, MIGRATION_BOTTLENECK_SOURCE_CPU);
}

static void test_limit(void)
{
    RamProgressFigures f = figures();
    RamProgress p;

    f.limit = 1 * GiB + 50 * MiB;
    p = ram_progress_judge(&f);
    g_assert_cmpint(p.by, ==, MIGRATION_BOTTLENECK_BANDWIDTH_LIMIT);

    /* That is what can be done something about. */
    f.dirty_rate = 2 * GiB;
    p = ram_progress_judge(&f);
    g_assert_cmpint(p.by, ==, MIGRATION_BOTTLENECK_BANDWIDTH_LIMIT);

    f.limit = 2 * GiB;
    p = ram_progress_judge(&f);
    g_assert_cmpint(p.by, ==, MIGRATION_BOTTLENECK_DIRTY_RATE);
}

typedef struct Case {
    const char *name;
    RamChannelFigures channels[2];
    bool held;
    MigrationBottleneck by;
} Case;

static const Case cases[] = {
    {
        "busy", { { MS(900), 0, MS(500) }, { MS(800), 0, MS(500) } },
        true, MIGRATION_BOTTLENECK_SOURCE_CPU,
    }, {
        "no CPU", { { MS(300), MS(600), MS(900) }, { MS(200), MS(700), 0 } },
        true, MIGRATION_BOTTLENECK_SOURCE_CPU,
    }, {
        "slow link", { { MS(100), 0, MS(950) }, { MS(120), 0, MS(920) } },
        true, MIGRATION_BOTTLENECK_NETWORK,
    }, {
        "no room", { { MS(100), 0, MS(950), MS(700) },
                     { MS(120), 0, MS(920), MS(600) } },
        true, MIGRATION_BOTTLENECK_DESTINATION_CPU,
    }, {
        "no room for a moment", { { MS(100), 0, MS(950), MS(100) },
                                  { MS(120), 0, MS(920), MS(100) } },
        true, MIGRATION_BOTTLENECK_NETWORK,
    }, {
        /* One that has nothing to do does not speak for the others. */
        "one works", { { MS(950), 0, MS(500) }, { MS(1), 0, MS(1) } },
        true, MIGRATION_BOTTLENECK_SOURCE_CPU,
    }, {
        "nothing to do", { { MS(20), 0, MS(20) }, { MS(10), 0, MS(10) } },
        false,
    }, {
        /* Waiting that is not for the channel is not the channel's. */
        "gate closed", { { MS(200), 0, MS(150) }, { MS(200), 0, MS(150) } },
        true, MIGRATION_BOTTLENECK_SOURCE_CPU,
    },
};

static void test_channels(gconstpointer opaque)
{
    const Case *c = opaque;
    RamProgressFigures f = figures();
    RamProgress p;

    f.channels = c->channels;
    p = ram_progress_judge(&f);
    g_assert_cmpint(p.held, ==, c->held);
    if (c->held) {
        g_assert_cmpstr(MigrationBottleneck_str(p.by), ==,
                        MigrationBottleneck_str(c->by));
    }
}

static void test_waiting(void)
{
    RamChannelFigures one = { MS(400), MS(100), MS(800), 0 };

    g_assert_cmpuint(ram_channel_waiting(&one, SECOND), ==, MS(500));
    one.writing = MS(200);
    g_assert_cmpuint(ram_channel_waiting(&one, SECOND), ==, MS(200));
    /* Clocks are not read at the same time. */
    g_assert_cmpuint(ram_channel_waiting(&one, MS(450)), ==, 0);
}

/* Nothing is known, or everything is much: no division by nothing */
static void test_extremes(void)
{
    RamProgressFigures f = { 0 };
    RamProgress p = ram_progress_judge(&f);

    g_assert_cmpuint(p.percent, ==, 0);
    g_assert_cmpuint(p.throughput, ==, 0);
    g_assert_false(p.ends);
    g_assert_false(p.stops);

    f = figures();
    f.channels = NULL;
    f.n_channels = 0;
    p = ram_progress_judge(&f);
    g_assert_false(p.held);

    f.memory = 0;
    p = ram_progress_judge(&f);
    g_assert_false(p.ends);
    g_assert_false(p.stops);

    f.interval = 1;
    f.done = f.memory = f.remaining = f.dirty_rate = UINT64_MAX;
    p = ram_progress_judge(&f);
    g_assert_cmpuint(p.percent, <=, 100);

    f = figures();
    f.remaining = 0;
    p = ram_progress_judge(&f);
    g_assert_cmpuint(p.percent, ==, 100);
    g_assert_cmpuint(p.left, ==, 0);
    g_assert_cmpuint(p.downtime, ==, 0);
}

static void test_line(void)
{
    MigrationProgress progress = {
        .percent = 45, .throughput = 1288490189,
        .has_expected_end = true, .expected_end = 11001,
        .has_bottleneck = true, .bottleneck = MIGRATION_BOTTLENECK_NETWORK,
    };
    g_autofree char *line = ram_progress_line(&progress);
    g_autofree char *bare = NULL;

    g_assert_cmpstr(line, ==, "[#########           ]  45% 1.2 GiB/s, "
                              "12 s left, limited by the network");
    progress.has_expected_end = progress.has_bottleneck = false;
    progress.percent = 100;
    progress.throughput = 0;
    bare = ram_progress_line(&progress);
    g_assert_cmpstr(bare, ==, "[####################] 100% 0 B/s");

    progress.has_expected_end = progress.has_bottleneck = true;
    progress.throughput = progress.expected_end = UINT64_MAX;
    for (int by = 0; by < MIGRATION_BOTTLENECK__MAX; by++) {
        g_autofree char *longest = NULL;

        progress.bottleneck = by;
        longest = ram_progress_line(&progress);
        g_assert_cmpuint(strlen(longest), <=, 78);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migration/progress/rates", test_rates);
    g_test_add_func("/migration/progress/dirty", test_dirty);
    g_test_add_func("/migration/progress/limit", test_limit);
    g_test_add_func("/migration/progress/waiting", test_waiting);
    for (int i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strdup_printf("/migration/progress/channels/"
                                                "%s", cases[i].name);
        g_test_add_data_func(path, &cases[i], test_channels);
    }
    g_test_add_func("/migration/progress/extremes", test_extremes);
    g_test_add_func("/migration/progress/line", test_line);
    return g_test_run();
}
