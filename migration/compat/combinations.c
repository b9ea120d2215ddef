/*
 * Which subsections go together
 *
 * Implements "Which combinations are valid" of
 * docs/devel/migration-v4/devices.rst.
 *
 * A name stands at most once in an alternative, so that the parts of an
 * alternative have no names in common: each question is answered part by part,
 * in time that is linear in the length of the text.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "qapi/error.h"
#include "migration/compat/combinations.h"
#include "migration/stream/record.h"
#include "migration/stream/stored.h"

/* One of the alternatives, or what is in brackets: several of them */
typedef struct Node {
    uint64_t mask;          /* what is named in it, at any depth */
    uint64_t names;         /* alternative: what is there whenever it is */
    GPtrArray *nodes;       /* alternative: what may be missing; else: these */
} Node;

struct Combinations {
    GPtrArray *names;
    Node *top;
};

static void node_free(gpointer data)
{
    Node *node = data;

    if (node) {
        g_ptr_array_unref(node->nodes);
        g_free(node);
    }
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Node, node_free)

static Node *node_new(void)
{
    Node *node = g_new0(Node, 1);

    node->nodes = g_ptr_array_new_with_free_func(node_free);
    return node;
}

void combinations_free(Combinations *c)
{
    if (c) {
        node_free(c->top);
        g_ptr_array_unref(c->names);
        g_free(c);
    }
}

/* From text */

typedef struct Parser {
    Combinations *c;
    const char *text, *at;
    bool open;              /* names are those in the text */
    unsigned depth;
    Error **errp;
} Parser;

static bool G_GNUC_PRINTF(2, 3) fail(Parser *p, const char *fmt, ...)
{
    g_autofree char *reason = NULL;
    va_list ap;

    va_start(ap, fmt);
    reason = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_setg(p->errp, "combinations, byte %zu: %s",
               (size_t)(p->at - p->text), reason);
    return false;
}

static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');

    return slash ? slash + 1 : name;
}

int combinations_find(const Combinations *c, const char *name)
{
    for (unsigned i = 0; i < c->names->len; i++) {
        if (!strcmp(c->names->pdata[i], name)) {
            return i;
        }
    }
    return -1;
}

/* A name that is new comes from somebody else, and stands in messages */
static int add(Parser *p, const char *token)
{
    GPtrArray *names = p->c->names;
    size_t length = strlen(token);

    if (length > UINT8_MAX ||
        !stream_name_is_proper((const uint8_t *)token, length)) {
        fail(p, "expected a name of 1 to 255 bytes without control characters, "
             "got %zu bytes", length);
        return -1;
    }
    if (names->len == COMBINATIONS_NAMES_MAX) {
        fail(p, "there are more than %d subsections", COMBINATIONS_NAMES_MAX);
        return -1;
    }
    g_ptr_array_add(names, g_strdup(token));
    return names->len - 1;
}

/* Whole names first; -1 with an error set if it is not exactly one */
static int find(Parser *p, const char *token)
{
    Combinations *c = p->c;
    int found = combinations_find(c, token);

    if (found >= 0) {
        return found;
    }
    if (p->open) {
        return add(p, token);
    }
    for (unsigned i = 0; i < c->names->len; i++) {
        if (strcmp(last_part(c->names->pdata[i]), token)) {
            continue;
        }
        if (found >= 0) {
            fail(p, "'%s' may be '%s' or '%s'", token,
                 (char *)c->names->pdata[found], (char *)c->names->pdata[i]);
            return -1;
        }
        found = i;
    }
    if (found < 0) {
        fail(p, "there is no subsection '%s'", token);
    }
    return found;
}

static bool parse_group(Parser *p, Node *group);

/* @mask: what @alternative is to have besides */
static bool claim(Parser *p, Node *alternative, uint64_t mask)
{
    uint64_t twice = alternative->mask & mask;

    if (twice) {
        return fail(p, "subsection '%s' stands twice in one combination",
                    combinations_name(p->c, ctz64(twice)));
    }
    alternative->mask |= mask;
    return true;
}

/* What ends a name that is not quoted */
#define SEPARATORS " |[]'"

static bool parse_name(Parser *p, Node *alternative)
{
    bool quoted = *p->at == '\'';
    size_t length = strcspn(p->at + quoted, quoted ? "'" : SEPARATORS);
    g_autofree char *token = g_strndup(p->at + quoted, length);
    int i;

    if (quoted && (!length || p->at[1 + length] != '\'')) {
        return fail(p, "expected a name and another quote");
    }
    i = find(p, token);
    if (i < 0 || !claim(p, alternative, BIT_ULL(i))) {
        return false;
    }
    alternative->names |= BIT_ULL(i);
    p->at += length + 2 * quoted;
    return true;
}

static bool parse_brackets(Parser *p, Node *alternative)
{
    Node *group = node_new();

    g_ptr_array_add(alternative->nodes, group);
    if (p->depth == COMBINATIONS_DEPTH_MAX) {
        return fail(p, "there are more than %d brackets around one another",
                    COMBINATIONS_DEPTH_MAX);
    }
    p->at++;
    p->depth++;
    if (!parse_group(p, group)) {
        return false;
    }
    p->depth--;
    if (*p->at != ']') {
        return fail(p, "expected ']'");
    }
    if (!claim(p, alternative, group->mask)) {
        return false;
    }
    p->at++;
    return true;
}

static bool parse_alternative(Parser *p, Node *alternative)
{
    for (;;) {
        p->at += strspn(p->at, " ");
        if (!*p->at || *p->at == '|' || *p->at == ']') {
            return true;
        }
        if (!(*p->at == '[' ? parse_brackets : parse_name)(p, alternative)) {
            return false;
        }
    }
}

static bool parse_group(Parser *p, Node *group)
{
    for (;;) {
        Node *alternative = node_new();

        g_ptr_array_add(group->nodes, alternative);
        if (!parse_alternative(p, alternative)) {
            return false;
        }
        group->mask |= alternative->mask;
        if (*p->at != '|') {
            return true;
        }
        p->at++;
    }
}

static bool is_name(const char *name)
{
    return *name && !strchr(name, '\'');
}

/* Takes the names that are given, which have to be different */
static bool take_names(Parser *p, const char *const *names, unsigned n)
{
    if (n > COMBINATIONS_NAMES_MAX) {
        return fail(p, "there are more than %d subsections",
                    COMBINATIONS_NAMES_MAX);
    }
    for (unsigned i = 0; i < n; i++) {
        if (combinations_find(p->c, names[i]) >= 0) {
            return fail(p, "there are two subsections '%s'", names[i]);
        }
        if (!is_name(names[i])) {
            return fail(p, "'%s' is no name that could stand here", names[i]);
        }
        g_ptr_array_add(p->c->names, g_strdup(names[i]));
    }
    return true;
}

static bool parse_all(Parser *p)
{
    unsigned unnamed;

    if (strlen(p->text) > COMBINATIONS_TEXT_MAX) {
        return fail(p, "expected at most %d bytes, got %zu",
                    (int)COMBINATIONS_TEXT_MAX, strlen(p->text));
    }
    if (!parse_group(p, p->c->top)) {
        return false;
    }
    if (*p->at) {
        return fail(p, "there is a ']' too many");
    }
    unnamed = cto64(p->c->top->mask);
    if (unnamed < p->c->names->len) {
        return fail(p, "subsection '%s' is in no combination",
                    combinations_name(p->c, unnamed));
    }
    return true;
}

Combinations *combinations_parse(const char *text, const char *const *names,
                                 unsigned n, Error **errp)
{
    g_autoptr(Combinations) c = g_new0(Combinations, 1);
    Parser p = {
        .c = c, .text = text, .at = text, .open = !names, .errp = errp,
    };

    c->names = g_ptr_array_new_with_free_func(g_free);
    c->top = node_new();
    if (!take_names(&p, names, names ? n : 0) || !parse_all(&p)) {
        return NULL;
    }
    return g_steal_pointer(&c);
}

unsigned combinations_count(const Combinations *c)
{
    return c->names->len;
}

const char *combinations_name(const Combinations *c, unsigned i)
{
    return c->names->pdata[i];
}

bool combinations_rename(Combinations *c, unsigned i, const char *name)
{
    char *copy = g_strdup(name);

    g_free(c->names->pdata[i]);
    c->names->pdata[i] = copy;
    return is_name(copy);
}

/* Questions.  What is missing of a group as a whole is always valid. */

static bool allow(const Node *group, uint64_t set);

static bool alternative_allows(const Node *alternative, uint64_t set)
{
    if ((set & ~alternative->mask) || (alternative->names & ~set)) {
        return false;
    }
    for (unsigned i = 0; i < alternative->nodes->len; i++) {
        const Node *group = alternative->nodes->pdata[i];

        if ((set & group->mask) && !allow(group, set & group->mask)) {
            return false;
        }
    }
    return true;
}

static bool allow(const Node *group, uint64_t set)
{
    for (unsigned i = 0; i < group->nodes->len; i++) {
        if (alternative_allows(group->nodes->pdata[i], set)) {
            return true;
        }
    }
    return false;
}

bool combinations_allow(const Combinations *c, uint64_t set)
{
    return allow(c->top, set);
}

static bool largest(const Node *group, uint64_t least, uint64_t most,
                    uint64_t *set);

static bool alternative_largest(const Node *alternative, uint64_t least,
                                uint64_t most, uint64_t *set)
{
    if ((least & ~alternative->mask) || (alternative->names & ~most)) {
        return false;
    }
    *set = alternative->names;
    for (unsigned i = 0; i < alternative->nodes->len; i++) {
        const Node *group = alternative->nodes->pdata[i];
        uint64_t part;

        if (largest(group, least & group->mask, most, &part)) {
            *set |= part;
        } else if (least & group->mask) {
            return false;
        }
    }
    return true;
}

static bool largest(const Node *group, uint64_t least, uint64_t most,
                    uint64_t *set)
{
    bool found = false;

    for (unsigned i = 0; i < group->nodes->len; i++) {
        uint64_t other;

        if (alternative_largest(group->nodes->pdata[i], least, most, &other) &&
            (!found || ctpop64(other) > ctpop64(*set))) {
            *set = other;
            found = true;
        }
    }
    return found;
}

bool combinations_largest(const Combinations *c, uint64_t least, uint64_t most,
                          uint64_t *set)
{
    return largest(c->top, least, most, set);
}

/*
 * The sets of a node, at most so many.  Those of a part of an alternative are
 * put together with all of the parts before it: as they have no names in
 * common, none of that comes twice.
 */

static void add_sets(GArray *sets, const Node *group, unsigned limit);

static GArray *product(GArray *before, const Node *group, unsigned limit)
{
    g_autoptr(GArray) own = g_array_new(false, false, sizeof(uint64_t));
    GArray *all = g_array_new(false, false, sizeof(uint64_t));

    stream_sets_add(own, 0, limit);
    add_sets(own, group, limit);
    for (unsigned i = 0; i < before->len; i++) {
        for (unsigned k = 0; k < own->len && all->len < limit; k++) {
            uint64_t set = g_array_index(before, uint64_t, i) |
                           g_array_index(own, uint64_t, k);

            g_array_append_val(all, set);
        }
    }
    g_array_unref(before);
    return all;
}

static void add_sets(GArray *sets, const Node *group, unsigned limit)
{
    for (unsigned i = 0; i < group->nodes->len; i++) {
        const Node *alternative = group->nodes->pdata[i];
        GArray *own = g_array_new(false, false, sizeof(uint64_t));

        stream_sets_add(own, alternative->names, limit);
        for (unsigned k = 0; k < alternative->nodes->len; k++) {
            own = product(own, alternative->nodes->pdata[k], limit);
        }
        for (unsigned k = 0; k < own->len; k++) {
            stream_sets_add(sets, g_array_index(own, uint64_t, k), limit);
        }
        g_array_unref(own);
    }
}

unsigned combinations_foreach(const Combinations *c, unsigned limit,
                              void (*fn)(uint64_t set, void *arg), void *arg)
{
    g_autoptr(GArray) sets = g_array_new(false, false, sizeof(uint64_t));

    add_sets(sets, c->top, limit);
    for (unsigned i = 0; i < sets->len; i++) {
        fn(g_array_index(sets, uint64_t, i), arg);
    }
    return sets->len;
}

bool combinations_is_list(const Combinations *c, unsigned most)
{
    const GPtrArray *alternatives = c->top->nodes;

    for (unsigned i = 0; i < alternatives->len; i++) {
        const Node *alternative = alternatives->pdata[i];

        if (alternative->nodes->len) {
            return false;
        }
    }
    return alternatives->len <= most;
}

/* To text */

static void separate(GString *text)
{
    if (text->len && text->str[text->len - 1] != '[') {
        g_string_append_c(text, ' ');
    }
}

static void append_names(GString *text, const Combinations *c, uint64_t set)
{
    for (; set; set &= set - 1) {
        const char *name = combinations_name(c, ctz64(set));
        const char *quote = name[strcspn(name, SEPARATORS)] ? "'" : "";

        separate(text);
        g_string_append_printf(text, "%s%s%s", quote, name, quote);
    }
}

static void append_group(GString *text, const Combinations *c,
                         const Node *group)
{
    for (unsigned i = 0; i < group->nodes->len; i++) {
        const Node *alternative = group->nodes->pdata[i];

        if (i) {
            separate(text);
            g_string_append_c(text, '|');
        }
        append_names(text, c, alternative->names);
        for (unsigned k = 0; k < alternative->nodes->len; k++) {
            separate(text);
            g_string_append_c(text, '[');
            append_group(text, c, alternative->nodes->pdata[k]);
            g_string_append_c(text, ']');
        }
    }
}

char *combinations_to_text(const Combinations *c)
{
    GString *text = g_string_new(NULL);

    append_group(text, c, c->top);
    return g_string_free(text, false);
}

char *combinations_set_to_text(const Combinations *c, uint64_t set)
{
    GString *text = g_string_new(set ? NULL : "none");

    for (const char *plus = ""; set; set &= set - 1, plus = " + ") {
        g_string_append_printf(text, "%s%s", plus,
                               combinations_name(c, ctz64(set)));
    }
    return g_string_free(text, false);
}

char *combinations_sets_to_text(const Combinations *c, const uint64_t *sets,
                                unsigned n)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = 0; i < n; i++) {
        if (i) {
            separate(text);
            g_string_append_c(text, '|');
        }
        append_names(text, c, sets[i]);
    }
    return g_string_free(text, false);
}

char *combinations_refusal(const Combinations *c, const char *structure,
                           uint64_t set)
{
    g_autofree char *valid = combinations_to_text(c);
    g_autofree char *got = combinations_set_to_text(c, set);

    return g_strdup_printf("subsections of '%s' do not go together: expected "
                           "'%s', got '%s'", structure, valid, got);
}

static Node *copy_node(const Node *from)
{
    Node *node = node_new();

    node->mask = from->mask;
    node->names = from->names;
    for (unsigned i = 0; i < from->nodes->len; i++) {
        g_ptr_array_add(node->nodes, copy_node(from->nodes->pdata[i]));
    }
    return node;
}

Combinations *combinations_copy(const Combinations *c)
{
    Combinations *copy = g_new0(Combinations, 1);

    copy->names = g_ptr_array_new_with_free_func(g_free);
    for (unsigned i = 0; i < c->names->len; i++) {
        g_ptr_array_add(copy->names, g_strdup(c->names->pdata[i]));
    }
    copy->top = copy_node(c->top);
    return copy;
}
