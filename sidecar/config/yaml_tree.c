/* yaml_tree.c - libyaml's events to a tree with places. */
#include "config/yaml_tree.h"

#include "base/hash_index.h"
#include "config/problems.h"
#include "config/yaml_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

/* Buckets for repeated keys: one for so many bytes of text, between the two. */
enum { KEY_BYTES = 32, KEY_BUCKETS_MIN = 64, KEY_BUCKETS_MAX = 65536 };

struct reader {
    yaml_parser_t parser;
    struct arena *arena;
    struct config_problems *problems;
    const char *text;
    size_t n;
    uint32_t nodes;
    bool failed;    /* reported; nothing more is read */
    struct str key; /* of the value that comes next; .p NULL: it has none */
    uint32_t key_line, key_column;
    struct yaml_node **keys; /* by parent and key: repeated keys */
    uint32_t keys_mask;
};

static uint32_t place_of(size_t mark)
{
    return (uint32_t)mark + 1;
}

/* Reports at an event, under the path of a node ("" for the root and NULL). */
static void refuse(struct reader *r, const yaml_event_t *e, const struct yaml_node *at,
                   const char *what)
{
    char path[YAML_PATH_MAX];
    problem_add(r->problems, place_of(e->start_mark.line), place_of(e->start_mark.column),
                at ? yaml_path(at, path) : "", false, "%s", what);
}

static void refuse_and_stop(struct reader *r, const yaml_event_t *e, const struct yaml_node *at,
                            const char *what)
{
    refuse(r, e, at, what);
    r->failed = true;
}

/* The next event, to be deleted by the caller; false once anything failed. */
static bool next_event(struct reader *r, yaml_event_t *e)
{
    if (r->failed)
        return false;
    if (yaml_parser_parse(&r->parser, e))
        return true;
    r->failed = true;
    if (r->parser.error == YAML_MEMORY_ERROR)
        problem_out_of_memory(r->problems);
    else
        yaml_words_report(&r->parser, r->text, r->n, r->problems);
    return false;
}

static struct yaml_node *new_node(struct reader *r, const yaml_event_t *e, struct yaml_node *parent)
{
    if (++r->nodes > YAML_TREE_NODES) {
        refuse_and_stop(r, e, parent, "more than 250000 values: split the configuration");
        return NULL;
    }
    struct yaml_node *node = arena_alloc(r->arena, sizeof(*node));
    if (!node) {
        problem_out_of_memory(r->problems);
        r->failed = true;
        return NULL;
    }
    node->line = place_of(e->start_mark.line);
    node->column = place_of(e->start_mark.column);
    node->parent = parent;
    node->index = parent ? parent->n : 0;
    node->key = r->key;
    node->key_line = r->key_line;
    node->key_column = r->key_column;
    r->key = STR_NONE;
    return node;
}

static struct str event_text(const yaml_event_t *e)
{
    return (struct str){(const char *)e->data.scalar.value, e->data.scalar.length};
}

static bool copy_text(struct reader *r, const yaml_event_t *e, struct str *ret)
{
    *ret = arena_str(r->arena, event_text(e));
    if (ret->p)
        return true;
    problem_out_of_memory(r->problems);
    r->failed = true;
    return false;
}

static bool init_keys(struct reader *r)
{
    uint32_t n = KEY_BUCKETS_MIN;
    while (n < KEY_BUCKETS_MAX && n < r->n / KEY_BYTES)
        n *= 2;
    r->keys_mask = n - 1;
    r->keys = arena_alloc(r->arena, n * sizeof(struct yaml_node *));
    return r->keys != NULL;
}

static struct yaml_node **bucket_of(struct reader *r, const struct yaml_node *map, struct str key)
{
    uint64_t h = hash_bytes(hash_number(HASH_BEGIN, (uintptr_t)map), key);
    return &r->keys[hash_end(h) & r->keys_mask];
}

static const struct yaml_node *key_seen(struct reader *r, const struct yaml_node *map,
                                        struct str key)
{
    const struct yaml_node *it = *bucket_of(r, map, key);
    while (it && !(it->parent == map && str_eq(it->key, key)))
        it = it->hash_next;
    return it;
}

static void append(struct yaml_node *parent, struct yaml_node *child)
{
    parent->n++;
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
}

static void refuse_anchor_and_tag(struct reader *r, const yaml_event_t *e,
                                  const struct yaml_node *at)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    }
    if (anchor)
        refuse(r, e, at, "anchors (&) are not supported: write the value out");
    if (tag)
        refuse(r, e, at, "tags (!) are not supported");
}

static struct yaml_node *read_node(struct reader *r, const yaml_event_t *e,
                                   struct yaml_node *parent, unsigned depth);

/* Reads the key into r->key. False: the value that follows it is read for its own mistakes only,
 * and belongs to nothing. */
static bool read_key(struct reader *r, const yaml_event_t *e, struct yaml_node *map, unsigned depth)
{
    if (e->type == YAML_ALIAS_EVENT) {
        refuse(r, e, map, "aliases (*) are not supported: write the value out");
        return false;
    }
    if (e->type != YAML_SCALAR_EVENT) {
        refuse(r, e, map, "a key is a word, not a list or a map");
        (void)read_node(r, e, map, depth);
        return false;
    }
    if (str_eq(event_text(e), STR("<<")) && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        refuse(r, e, map, "merge keys (<<) are not supported: write the keys out");
        return false;
    }
    refuse_anchor_and_tag(r, e, map);
    if (!copy_text(r, e, &r->key))
        return false;
    r->key_line = place_of(e->start_mark.line);
    r->key_column = place_of(e->start_mark.column);
    const struct yaml_node *first = key_seen(r, map, r->key);
    if (!first)
        return true;
    char path[YAML_PATH_MAX];
    problem_add(r->problems, r->key_line, r->key_column, yaml_path(first, path), false,
                "the key is there twice; the first is on line %u", first->key_line);
    return false;
}

static bool read_pair(struct reader *r, const yaml_event_t *key, struct yaml_node *map,
                      unsigned depth)
{
    yaml_event_t e;
    bool good = read_key(r, key, map, depth);

    if (!next_event(r, &e))
        return false;
    struct yaml_node *value = read_node(r, &e, map, depth);
    yaml_event_delete(&e);
    if (value && good) {
        struct yaml_node **bucket = bucket_of(r, map, value->key);
        value->hash_next = *bucket;
        *bucket = value;
        append(map, value);
    }
    return value != NULL;
}

static void read_children(struct reader *r, struct yaml_node *parent, unsigned depth)
{
    yaml_event_t e;

    while (next_event(r, &e)) {
        bool end = e.type == YAML_MAPPING_END_EVENT || e.type == YAML_SEQUENCE_END_EVENT;
        bool more = false;
        if (!end && parent->kind == NODE_MAP) {
            more = read_pair(r, &e, parent, depth + 1);
        } else if (!end) {
            struct yaml_node *child = read_node(r, &e, parent, depth + 1);
            if (child)
                append(parent, child);
            more = child != NULL;
        }
        yaml_event_delete(&e);
        if (!more)
            return;
    }
}

/* The value that begins with the event, which stays the caller's. NULL once anything failed. */
static struct yaml_node *read_node(struct reader *r, const yaml_event_t *e,
                                   struct yaml_node *parent, unsigned depth)
{
    struct yaml_node *node = new_node(r, e, parent);
    if (!node)
        return NULL;
    refuse_anchor_and_tag(r, e, node);
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        node->kind = NODE_SCALAR;
        node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        if (!copy_text(r, e, &node->text))
            return NULL;
        return node;
    case YAML_ALIAS_EVENT:
        refuse(r, e, node, "aliases (*) are not supported: write the value out");
        return node; /* NODE_BROKEN */
    default:
        if (depth >= YAML_TREE_DEPTH) {
            refuse_and_stop(r, e, node, "nested more than 32 deep");
            return NULL;
        }
        node->kind = e->type == YAML_MAPPING_START_EVENT ? NODE_MAP : NODE_LIST;
        read_children(r, node, depth);
        return r->failed ? NULL : node;
    }
}

static struct yaml_node *read_stream(struct reader *r)
{
    struct yaml_node *root = NULL;
    bool end = false;
    unsigned documents = 0;

    while (!end) {
        yaml_event_t e;
        if (!next_event(r, &e))
            return NULL;
        switch (e.type) {
        case YAML_STREAM_END_EVENT:
            end = true;
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (++documents > 1) {
                refuse(r, &e, NULL, "a second document begins here: a file holds one");
                end = true;
            }
            break;
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        default:
            root = read_node(r, &e, NULL, 0);
            break;
        }
        yaml_event_delete(&e);
    }
    return root;
}

struct yaml_node *yaml_tree_parse(struct arena *a, const char *text, size_t n,
                                  struct config_problems *problems)
{
    struct reader *r;
    struct yaml_node *root = NULL;

    if (n > YAML_TREE_BYTES) {
        problem_add(problems, 0, 0, "", false, "the file is larger than 16 MiB");
        return NULL;
    }
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark is no column */
        text += 3;
        n -= 3;
    }
    r = arena_alloc(a, sizeof(*r));
    if (!r) {
        problem_out_of_memory(problems);
        return NULL;
    }
    r->arena = a;
    r->problems = problems;
    r->text = text;
    r->n = n;
    if (!init_keys(r) || !yaml_parser_initialize(&r->parser)) {
        problem_out_of_memory(problems);
        return NULL;
    }
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)(n ? text : ""), n);
    root = read_stream(r);
    if (!r->failed && (!root || yaml_is_null(root))) {
        problem_add(problems, 1, 1, "", false, "the file is empty");
        root = NULL;
    }
    yaml_parser_delete(&r->parser);
    return r->failed ? NULL : root;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (!map || map->kind != NODE_MAP)
        return NULL;
    const struct yaml_node *it = map->first;
    while (it && !str_eq(it->key, str_of(key)))
        it = it->next;
    return it;
}

const struct yaml_node *yaml_at(const struct yaml_node *list, uint32_t index)
{
    if (!list || list->kind != NODE_LIST)
        return NULL;
    const struct yaml_node *it = list->first;
    while (it && it->index != index)
        it = it->next;
    return it;
}

bool yaml_is_null(const struct yaml_node *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (node->kind != NODE_SCALAR || node->quoted || node->raw.p)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_eq(node->text, str_of(words[i])))
            return true;
    }
    return false;
}

struct str yaml_shown(const struct yaml_node *node)
{
    return node->raw.p ? node->raw : node->text;
}

bool yaml_is_plain(const struct yaml_node *node)
{
    return !node->quoted || node->raw.p;
}

char *yaml_path(const struct yaml_node *node, char *out)
{
    const struct yaml_node *chain[YAML_TREE_DEPTH + 2];
    size_t n = 0, o = 0;

    for (; node && node->parent && n < ARRAY_LEN(chain); node = node->parent)
        chain[n++] = node;
    out[0] = '\0';
    while (n-- > 0 && o + PROBLEM_QUOTE_MAX + 16 < YAML_PATH_MAX) {
        char key[PROBLEM_QUOTE_MAX];
        if (chain[n]->key.p)
            o += (size_t)snprintf(out + o, YAML_PATH_MAX - o, "%s%s", o ? "." : "",
                                  problem_quote(chain[n]->key, key));
        else if (chain[n]->parent->kind == NODE_LIST)
            o += (size_t)snprintf(out + o, YAML_PATH_MAX - o, "[%u]", chain[n]->index);
    }
    return out;
}

#define REPORT(p, node, line, column, warning)                                                     \
    do {                                                                                           \
        char path_[YAML_PATH_MAX], message_[768];                                                  \
        va_list args_;                                                                             \
        va_start(args_, fmt);                                                                      \
        int rc_ = vsnprintf(message_, sizeof(message_), fmt, args_);                               \
        va_end(args_);                                                                             \
        problem_add((p), (line), (column), yaml_path((node), path_), (warning), "%s",              \
                    rc_ < 0 ? "" : message_);                                                      \
    } while (0)

void problem_at(struct config_problems *p, const struct yaml_node *node, const char *fmt, ...)
{
    REPORT(p, node, node->line, node->column, false);
}

void problem_at_key(struct config_problems *p, const struct yaml_node *node, const char *fmt, ...)
{
    REPORT(p, node, node->key.p ? node->key_line : node->line,
           node->key.p ? node->key_column : node->column, false);
}

void warning_at(struct config_problems *p, const struct yaml_node *node, const char *fmt, ...)
{
    if (node->kind != NODE_BROKEN)
        REPORT(p, node, node->line, node->column, true);
}
