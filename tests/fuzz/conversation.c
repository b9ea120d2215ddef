/*
 * Migration stream version 4: any bytes at all as what the other side says
 *
 * Each input is taken three times: as what comes over a channel, in either
 * direction; as a hello's facts; and as a word of the hand-over.  What becomes
 * of them is what source and destination do before a machine is concerned: the
 * facts are negotiated with those of a QEMU of our own, both ways round.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/module.h"
#include "qapi/error.h"
#include "io/channel-buffer.h"
#include "migration/compat/negotiate.h"
#include "migration/stream/channel.h"
#include "migration/stream/handover.h"
#include "forge.h"

/* Devices of the seeds, with other ranges, other names and one that is twice */
static const char ours_text[] =
    "{'qemu': {'version': '7.2.22'}, 'machine': 'pc-q35-7.2-v4',"
    " 'guest-machine': 'pc-q35-7.2', 'stream-versions': [4, 5],"
    " 'features': [{'name': 'hand-over'},"
    "              {'name': 'multifd', 'required': true}],"
    " 'devices': ["
    "  {'name': 'timer', 'instance': 0, 'version': 3, 'minimum-version': 1,"
    "   'minimum-saved-version': 2, 'needed': true, 'expected': true,"
    "   'subsections': [{'name': 'timer/icount', 'version': 1,"
    "    'needed': true, 'subsections': ["
    "     {'name': 'timer/icount/shift', 'version': 2, 'minimum-version': 1,"
    "      'optional': true},"
    "     {'name': 'timer/icount/timers', 'version': 1}]},"
    "    {'name': 'timer/icount/shift', 'version': 3,"
    "     'minimum-version': 0}]},"
    "  {'name': 'ram', 'instance': 0, 'version': 4, 'needed': true},"
    "  {'name': 'block', 'instance': 0, 'version': 1, 'optional': true},"
    "  {'name': '0000:00:0f.0/serial', 'instance': 0, 'version': 3,"
    "   'minimum-version': 2, 'alias': 'serial', 'alias-instance': 1,"
    "   'legacy-instance': 0, 'needed': true},"
    "  {'name': 'a', 'instance': 0, 'version': 2, 'minimum-version': 0,"
    "   'subsections': [{'name': 'a', 'version': 1}]},"
    "  {'name': 'a', 'instance': 0, 'version': 2, 'minimum-version': 1}]}";

static MigrationFacts *ours;

/* What people get to see: text, on one line if it is to be */
static void check_text(const char *text, bool one_line)
{
    assert(g_utf8_validate(text, -1, NULL));
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        assert(!g_unichar_iscntrl(g_utf8_get_char(p)) ||
               (*p == '\n' && !one_line));
    }
}

static void check_error(Error *err)
{
    check_text(error_get_pretty(err), false);
    error_free(err);
}

/* Negotiation */

static void check_choice(const MigrationChoice *choice,
                         const MigrationStateFacts *state)
{
    assert(choice && g_str_equal(choice->name, state->name));
    if (choice->fate == MIGRATION_FATE_SENT) {
        assert(choice->version >= state->minimum_saved &&
               choice->version <= state->version);
    }
}

/* @said is given all that was chosen, at any depth that is sent */
static void check_subsections(const MigrationChoice *device,
                              const MigrationStateFacts *state, GString *said)
{
    for (unsigned i = 0; i < state->subsections->len; i++) {
        const MigrationStateFacts *sub = state->subsections->pdata[i];
        const MigrationChoice *choice =
            migration_choice_subsection(device, sub->name);

        if (choice) {
            check_choice(choice, sub);
            g_string_append_printf(said, "%s %d %u\n", choice->name,
                                   choice->fate, choice->version);
            if (choice->fate == MIGRATION_FATE_SENT) {
                check_subsections(device, sub, said);
            }
        }
    }
}

static void check_devices(const MigrationAgreement *a,
                          const MigrationFacts *source, GString *said)
{
    assert(a->devices->len == source->devices->len);
    for (unsigned i = 0; i < a->devices->len; i++) {
        const MigrationDeviceFacts *device = source->devices->pdata[i];
        const MigrationChoice *choice = a->devices->pdata[i];
        const MigrationChoice *found =
            migration_agreement_device(a, device->state.name,
                                       device->instance);

        check_choice(choice, &device->state);
        assert(choice->instance == device->instance);
        assert(choice->fate != MIGRATION_FATE_REFUSED || a->refusals ||
               !device->state.needed);
        assert(found && (a->refusals || (found->fate == choice->fate &&
                                         found->version == choice->version)));
        g_string_append_printf(said, "%s %u %d %u\n", choice->name,
                               choice->instance, choice->fate,
                               choice->version);
        check_subsections(choice, &device->state, said);
    }
}

static void check_features(const MigrationAgreement *a,
                           const MigrationFacts *source,
                           const MigrationFacts *destination, GString *said)
{
    for (unsigned i = 0; i < a->features->len; i++) {
        const char *name = a->features->pdata[i];

        assert(migration_agreement_has_feature(a, name) &&
               migration_facts_find_feature(source, name) &&
               migration_facts_find_feature(destination, name));
        g_string_append_printf(said, "with %s\n", name);
    }
    for (unsigned i = 0; i < a->left_off->len; i++) {
        const char *name = a->left_off->pdata[i];

        assert(!migration_agreement_has_feature(a, name));
        g_string_append_printf(said, "without %s\n", name);
    }
}

static void check_remarks(const MigrationAgreement *a, GString *said)
{
    unsigned refusals = 0;
    Error *err = NULL;

    for (unsigned i = 0; i < a->remarks->len; i++) {
        const MigrationRemark *remark = a->remarks->pdata[i];
        g_autofree char *text = migration_remark_to_text(remark);

        check_text(text, true);
        refusals += remark->fatal;
        g_string_append_printf(said, "%d %s\n", remark->fatal, text);
    }
    assert(a->refusals == refusals);
    assert(a->stream_version || refusals);
    assert(migration_agreement_check(a, &err) == !refusals);
    assert(!err == !refusals);
    if (err) {
        check_error(err);
    }
}

/* All that two sides agree on, in words */
static char *negotiate(const MigrationFacts *source,
                       const MigrationFacts *destination)
{
    g_autoptr(MigrationAgreement) a = migration_negotiate(source, destination);
    GString *said = g_string_new(NULL);

    g_string_append_printf(said, "version %u\n", a->stream_version);
    check_features(a, source, destination, said);
    check_devices(a, source, said);
    check_remarks(a, said);
    return g_string_free(said, false);
}

/* The side that has the facts, and the one that has read them: the same */
static void check_both_sides(const MigrationFacts *theirs,
                             const MigrationFacts *theirs_read)
{
    g_autofree char *there = negotiate(theirs, ours);
    g_autofree char *there_read = negotiate(theirs_read, ours);
    g_autofree char *back = negotiate(ours, theirs);
    g_autofree char *back_read = negotiate(ours, theirs_read);

    assert(g_str_equal(there, there_read) && g_str_equal(back, back_read));
    g_free(negotiate(theirs, theirs_read));
}

static bool take_hello(const uint8_t *data, size_t size, Error **errp)
{
    g_autoptr(MigrationFacts) facts =
        migration_facts_parse((const char *)data, size, errp);
    g_autoptr(MigrationFacts) again = NULL;
    g_autoptr(GString) text = NULL, text_again = NULL;

    if (!facts) {
        return false;
    }
    text = migration_facts_to_json(facts);
    again = migration_facts_parse(text->str, text->len, &error_abort);
    text_again = migration_facts_to_json(again);
    assert(g_string_equal(text, text_again));
    check_both_sides(facts, again);
    return true;
}

/* The hand-over */

static bool take_word(const uint8_t *data, size_t size, Error **errp)
{
    g_autofree StreamHandover *word = g_new0(StreamHandover, 1);
    g_autofree StreamHandover *again = g_new0(StreamHandover, 1);
    g_autofree uint8_t *wire = g_malloc(STREAM_HANDOVER_MAX);
    size_t length;

    if (!stream_handover_decode(data, size, word, errp)) {
        return false;
    }
    check_text(word->text, false);
    assert(stream_handover_message_name(word->message));
    length = stream_handover_encode(word, wire);
    assert(length <= STREAM_HANDOVER_MAX);
    stream_handover_decode(wire, length, again, &error_abort);
    assert(again->message == word->message && again->detail == word->detail &&
           again->token == word->token && g_str_equal(again->text, word->text));
    return true;
}

/* The channel */

static bool take_notice(void *opaque, uint16_t type, const GByteArray *payload,
                        Error **errp)
{
    return type == STREAM_RECORD_HELLO
        ? take_hello(payload->data, payload->len, errp)
        : take_word(payload->data, payload->len, errp);
}

/* The destination: a stream up to END, and what is said behind that */
static void hear_stream(StreamChannel *sc, Error **errp)
{
    int type;

    if (stream_reader_preamble(sc->reader, errp) != STREAM_VERSION) {
        return;
    }
    do {
        type = stream_channel_next(sc, 0, errp);
    } while (type > STREAM_RECORD_END &&
             stream_reader_discard(sc->reader, errp));
    if (type == STREAM_RECORD_END) {
        while (stream_channel_get_notice(sc, errp)) {
        }
    }
}

/* The source: QEMU's messages of the return path, with notices in between */
static void hear_return_path(StreamChannel *sc, Error **errp)
{
    char bytes[256];

    while (qio_channel_read(QIO_CHANNEL(sc), bytes, sizeof(bytes), errp) > 0) {
    }
}

static void hear(const uint8_t *data, size_t size)
{
    g_autoptr(QIOChannelBuffer) buffer = qio_channel_buffer_new(0);
    bool outgoing = !size || data[0] != 'Q';
    g_autoptr(StreamChannel) sc = stream_channel_new(QIO_CHANNEL(buffer),
                                                     outgoing);
    Error *err = NULL;

    qio_channel_write_all(QIO_CHANNEL(buffer), (const char *)data, size,
                          &error_abort);
    buffer->offset = 0;
    stream_channel_set_notice(sc, take_notice, NULL);
    if (outgoing) {
        hear_return_path(sc, &err);
    } else {
        hear_stream(sc, &err);
    }
    /* Each comes to its end with a reason, but for streams of old */
    assert(err || !outgoing);
    if (err) {
        check_error(err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Error *err = NULL;

    if (!ours) {
        g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
        module_call_init(MODULE_INIT_QOM);
        ours = migration_facts_parse(ours_text, strlen(ours_text),
                                     &error_abort);
    }
    hear(data, size);
    if (!take_hello(data, size, &err)) {
        check_error(err);
        err = NULL;
    }
    if (!take_word(data, size, &err)) {
        check_error(err);
    }
    return 0;
}
