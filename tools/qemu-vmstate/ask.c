/*
 * qemu-vmstate: what a QEMU says of itself, over its monitor
 *
 * A client of QMP on a UNIX socket that waits no longer than it says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include <sys/un.h>
#include "qapi/error.h"
#include "qapi/qmp/json-parser.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qstring.h"
#include "facts.h"

/* How long an answer may take, in milliseconds */
#define PATIENCE 20000

/* More than any monitor has to say to what is asked here, in bytes */
#define TALK_MAX (16 * MiB)

typedef struct Monitor {
    int fd;
    size_t heard;               /* bytes so far */
    GQueue *messages;           /* QDicts that were not looked at yet */
    Error *err;                 /* what came is no JSON */
    JSONMessageParser parser;
} Monitor;

static void on_message(void *opaque, QObject *object, Error *err)
{
    Monitor *m = opaque;
    QDict *dict = qobject_to(QDict, object);

    if (dict) {
        g_queue_push_tail(m->messages, dict);
        return;
    }
    if (!err) {
        error_setg(&err, "expected an object");
    }
    qobject_unref(object);
    if (m->err) {
        error_free(err);
    } else {
        m->err = err;
    }
}

/* Reads what comes next; @what is being waited for, until @deadline */
static bool hear(Monitor *m, const char *what, int64_t deadline, Error **errp)
{
    struct pollfd poller = { .fd = m->fd, .events = POLLIN };
    int64_t left = (deadline - g_get_monotonic_time()) / 1000;
    char chunk[4096];
    ssize_t n;
    int ready;

    TFR(ready = poll(&poller, 1, MAX(left, 0)));
    if (!ready) {
        error_setg(errp, "the monitor does not answer: expected %s within %d "
                   "seconds; it serves one client at a time", what,
                   PATIENCE / 1000);
        return false;
    }
    TFR(n = read(m->fd, chunk, sizeof(chunk)));
    if (n <= 0) {
        error_setg(errp, "the monitor is gone: expected %s, got %s", what,
                   n ? strerror(errno) : "the end of the connection");
        return false;
    }
    m->heard += n;
    if (m->heard > TALK_MAX) {
        error_setg(errp, "the monitor says too much: expected %s, got %d MiB "
                   "of other things", what, (int)(TALK_MAX / MiB));
        return false;
    }
    json_message_parser_feed(&m->parser, chunk, n);
    if (m->err) {
        error_propagate_prepend(errp, g_steal_pointer(&m->err),
                                "this is no QMP monitor: expected %s: ", what);
        return false;
    }
    return true;
}

/* The next message that is no event */
static QDict *next_message(Monitor *m, const char *what, Error **errp)
{
    int64_t deadline = g_get_monotonic_time() + PATIENCE * 1000LL;

    for (;;) {
        QDict *dict = g_queue_pop_head(m->messages);

        if (dict && !qdict_haskey(dict, "event")) {
            return dict;
        }
        if (!dict && !hear(m, what, deadline, errp)) {
            return NULL;
        }
        qobject_unref(dict);
    }
}

/* Runs a command; what it returns, or NULL */
static QDict *execute(Monitor *m, const char *command, Error **errp)
{
    g_autofree char *text = g_strdup_printf("{\"execute\": \"%s\"}\n",
                                            command);
    g_autoptr(QDict) answer = NULL;
    QDict *result, *error;

    /* Short enough to be taken at once by whoever has read the last one */
    if (send(m->fd, text, strlen(text), MSG_NOSIGNAL) != strlen(text)) {
        error_setg_errno(errp, errno, "the monitor is gone: cannot write");
        return NULL;
    }
    answer = next_message(m, command, errp);
    if (!answer) {
        return NULL;
    }
    error = qobject_to(QDict, qdict_get(answer, "error"));
    if (error) {
        error_setg(errp, "the monitor refuses '%s': %s", command,
                   qdict_get_try_str(error, "desc") ?: "without a reason");
        return NULL;
    }
    result = qobject_to(QDict, qdict_get(answer, "return"));
    if (!result) {
        error_setg(errp, "the monitor does not answer '%s' with an object",
                   command);
        return NULL;
    }
    return qobject_ref(result);
}

static MigrationFacts *ask(Monitor *m, Error **errp)
{
    g_autoptr(QDict) greeting = next_message(m, "its greeting", errp);
    g_autoptr(QDict) ready = NULL, facts = NULL;

    if (!greeting) {
        return NULL;
    }
    if (!qdict_haskey(greeting, "QMP")) {
        error_setg(errp, "this is no QMP monitor: it does not greet as one");
        return NULL;
    }
    ready = execute(m, "qmp_capabilities", errp);
    facts = ready ? execute(m, "query-vmstate", errp) : NULL;
    return facts ? migration_facts_from_qdict(facts, errp) : NULL;
}

static int connect_to(const char *path, Error **errp)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd;

    if (strlen(path) >= sizeof(address.sun_path)) {
        error_setg(errp, "the path of the socket is too long: expected %zu "
                   "bytes at most", sizeof(address.sun_path) - 1);
        return -1;
    }
    strcpy(address.sun_path, path);
    /* Without waiting for somebody who does not accept */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address))) {
        error_setg_errno(errp, errno, "cannot connect");
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static void drop_message(gpointer dict)
{
    qobject_unref((QDict *)dict);
}

MigrationFacts *tool_facts_ask(const char *path, Error **errp)
{
    Monitor m = { .fd = connect_to(path, errp) };
    MigrationFacts *facts;

    if (m.fd < 0) {
        return NULL;
    }
    m.messages = g_queue_new();
    json_message_parser_init(&m.parser, on_message, &m, NULL);
    facts = ask(&m, errp);
    json_message_parser_destroy(&m.parser);
    error_free(m.err);
    g_queue_free_full(m.messages, drop_message);
    close(m.fd);
    return facts;
}
