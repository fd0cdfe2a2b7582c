/* json_schema.c - the schema as JSON Schema, draft 2020-12. */
#include "config/json_schema.h"

#include "base/check.h"
#include "config/pattern.h"
#include "config/range.h"
#include "config/schema.h"

#include <stdio.h>

struct writer {
    json_t *defs;
    bool failed;
};

/* Takes value; `to` may be NULL where memory was short before. */
static void put(struct writer *w, json_t *to, const char *key, json_t *value)
{
    if (json_object_set_new(to, key, value) < 0)
        w->failed = true;
}

static void push(struct writer *w, json_t *to, json_t *value)
{
    if (json_array_append_new(to, value) < 0)
        w->failed = true;
}

/* {key: value} */
static json_t *one(struct writer *w, const char *key, json_t *value)
{
    json_t *o = json_object();
    put(w, o, key, value);
    return o;
}

static json_t *reference(struct writer *w, const char *name)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "#/$defs/%s", name);
    return one(w, "$ref", json_string(text));
}

/* ---- scalars ---- */

static bool all_digits(const char *s)
{
    return *s && strspn(s, "0123456789") == strlen(s);
}

/* Such as a version, 1.2. */
static bool is_decimal(const char *s)
{
    size_t whole = strspn(s, "0123456789");
    return whole > 0 && s[whole] == '.' && all_digits(s + whole + 1);
}

/* A text in the pattern; NULL: any. */
static json_t *text_in(struct writer *w, const char *pattern)
{
    json_t *o = one(w, "type", json_string("string"));
    if (pattern)
        put(w, o, "pattern", json_string(pattern));
    return o;
}

static json_t *names_of(struct writer *w, const struct schema_name *names, bool hidden)
{
    json_t *list = json_array();
    for (; names->name; names++) {
        if (names->hidden != hidden)
            continue;
        if (all_digits(names->name)) /* plain, YAML takes it for a number */
            push(w, list, json_integer(strtol(names->name, NULL, 10)));
        else if (is_decimal(names->name))
            push(w, list, json_real(strtod(names->name, NULL)));
        push(w, list, json_string(names->name));
    }
    return list;
}

static bool has_hidden(const struct schema_name *names)
{
    while (names->name && !names->hidden)
        names++;
    return names->name != NULL;
}

static json_t *integer_from(struct writer *w, uint64_t min, uint64_t max)
{
    json_t *o = one(w, "type", json_string("integer"));
    put(w, o, "minimum", json_integer((json_int_t)min));
    if (max <= INT64_MAX)
        put(w, o, "maximum", json_integer((json_int_t)max));
    return o;
}

static void push_numbers(struct writer *w, json_t *any, enum pattern_numbers numbers)
{
    if (numbers == NUMBERS_NONE)
        return;
    if (numbers == NUMBERS_PERCENT) {
        json_t *percent = one(w, "type", json_string("number"));
        put(w, percent, "minimum", json_integer(0));
        put(w, percent, "maximum", json_integer(100));
        push(w, any, percent);
        return;
    }
    const char *type = numbers == NUMBERS_WHOLE ? "integer" : "number";
    json_t *o = one(w, "type", json_pack("[ss]", type, "boolean"));
    if (numbers == NUMBERS_NOT_NEGATIVE)
        put(w, o, "minimum", json_integer(0));
    push(w, any, o);
}

/* What stands for a scalar of that type, besides ${VARIABLE}: each pushed into `any`. */
static void push_scalar(struct writer *w, json_t *any, const struct schema_key *key)
{
    json_t *o;
    switch (key->type) {
    case SCHEMA_BOOL:
        push(w, any,
             key->flags & KEY_ONLY_TRUE ? one(w, "const", json_true())
                                        : one(w, "type", json_string("boolean")));
        break;
    case SCHEMA_INT:
        push(w, any, integer_from(w, key->min, range_most(key)));
        break;
    case SCHEMA_DURATION:
        push(w, any, text_in(w, pattern_of_type(key->type, key->flags)));
        push(w, any, one(w, "const", json_integer(0)));
        break;
    case SCHEMA_SIZE:
        push(w, any, text_in(w, pattern_of_type(key->type, key->flags)));
        push(w, any, integer_from(w, key->min, range_most(key)));
        break;
    case SCHEMA_MODE: /* 0660 is 660 in YAML 1.2, and 432 in YAML 1.1 */
        push(w, any, text_in(w, pattern_of_type(key->type, key->flags)));
        push(w, any, integer_from(w, 0, 777));
        break;
    case SCHEMA_ENUM:
        push(w, any, one(w, "enum", names_of(w, key->names, false)));
        if (has_hidden(key->names)) {
            o = one(w, "enum", names_of(w, key->names, true));
            put(w, o, "deprecated", json_true());
            push(w, any, o);
        }
        break;
    case SCHEMA_STRING:
        if (key->names) {
            push(w, any, one(w, "enum", names_of(w, key->names, false)));
            break;
        }
        o = text_in(w, pattern_of_format(key->format));
        if (key->max)
            put(w, o, "maxLength", json_integer((json_int_t)key->max));
        push(w, any, o);
        push_numbers(w, any, pattern_numbers(key->format));
        break;
    default:
        push(w, any, text_in(w, pattern_of_type(key->type, key->flags)));
        break;
    }
    if ((key->flags & KEY_OFF) && key->type != SCHEMA_BOOL)
        push(w, any, one(w, "const", json_string("off")));
}

/* The name of what is the same for many keys; NULL: it is the key's own. */
static const char *shared_name(const struct schema_key *key)
{
    static const char *const formats[] = {
        [FORMAT_LINE] = "line",
        [FORMAT_VALUE] = "value",
        [FORMAT_LABEL] = "label",
        [FORMAT_NAME] = "name",
        [FORMAT_FILE] = "file",
        [FORMAT_PATH] = "path",
        [FORMAT_HOST_PATTERN] = "hostPattern",
        [FORMAT_HOST] = "host",
        [FORMAT_HOST_PORT] = "hostPort",
        [FORMAT_TOKEN] = "token",
        [FORMAT_METHOD] = "method",
    };
    if (key->flags & KEY_OFF)
        return NULL;
    switch (key->type) {
    case SCHEMA_DURATION:
        return "duration";
    case SCHEMA_ADDRESS:
        return key->flags & KEY_NO_UNIX ? "ipAddress" : "address";
    case SCHEMA_ENDPOINT:
        return "endpoint";
    case SCHEMA_CIDR:
        return "network";
    case SCHEMA_STRING:
        if (key->names || key->max || (size_t)key->format >= ARRAY_LEN(formats))
            return NULL;
        return formats[key->format];
    default:
        return NULL;
    }
}

static json_t *scalar(struct writer *w, const struct schema_key *key)
{
    const char *name = shared_name(key);
    if (name && json_object_get(w->defs, name))
        return reference(w, name);
    json_t *any = json_array();
    push_scalar(w, any, key);
    push(w, any, reference(w, "variable"));
    json_t *o = one(w, "anyOf", any);
    if (!name)
        return o;
    put(w, w->defs, name, o);
    return reference(w, name);
}

/* ---- maps and lists ---- */

static json_t *map_schema(struct writer *w, const struct schema_map *map, bool restart);

static json_t *list_schema(struct writer *w, const struct schema_key *key, bool restart)
{
    const struct schema_map *map = key->of->map;
    json_t *o = one(w, "type", json_string("array"));

    json_t *items = map ? map_schema(w, map, restart) : scalar(w, key->of);
    if (map && key->of->type != SCHEMA_MAP) /* a word, or a map in its place */
        items = one(w, "anyOf", json_pack("[oo]", scalar(w, key->of), items));
    put(w, o, "items", items);
    if (key->min)
        put(w, o, "minItems", json_integer((json_int_t)key->min));
    if (key->max)
        put(w, o, "maxItems", json_integer((json_int_t)key->max));
    json_t *needed = json_array();
    for (uint32_t i = 0; map && i < map->n_keys; i++) {
        if (map->keys[i].flags & KEY_NEEDED_BY_MANY)
            push(w, needed, json_string(map->keys[i].name));
    }
    if (json_array_size(needed) > 0) {
        put(w, o, "if", one(w, "minItems", json_integer(2)));
        put(w, o, "then", one(w, "items", one(w, "required", needed)));
    } else {
        json_decref(needed);
    }
    return o;
}

/* The default, in the type that it would be written in. */
static json_t *preset(const struct schema_key *key)
{
    if (key->type == SCHEMA_BOOL)
        return json_boolean(strcmp(key->preset, "true") == 0);
    if (key->type == SCHEMA_INT || (key->type == SCHEMA_ENUM && all_digits(key->preset)))
        return json_integer(strtoll(key->preset, NULL, 10));
    return json_string(key->preset);
}

static void put_range(struct writer *w, json_t *o, const struct schema_key *key)
{
    char low[SCALAR_TEXT_MAX], high[SCALAR_TEXT_MAX];
    if ((key->type != SCHEMA_DURATION && key->type != SCHEMA_SIZE) || key->max == 0)
        return;
    put(w, o, "x-minimum", json_string(range_text(key, key->min, low)));
    put(w, o, "x-maximum", json_string(range_text(key, key->max, high)));
}

static json_t *key_schema(struct writer *w, const struct schema_key *key, bool restart)
{
    char description[512], range[RANGE_TEXT_MAX];
    json_t *o;

    restart = schema_restarts(key, restart);
    if (key->type == SCHEMA_MAP)
        o = map_schema(w, key->map, restart);
    else if (key->type == SCHEMA_LIST)
        o = list_schema(w, key, restart);
    else
        o = scalar(w, key);
    (void)range_words(key, range);
    (void)snprintf(description, sizeof(description), "%s%s%s%s", key->help, range[0] ? " (" : "",
                   range, range[0] ? ")" : "");
    put(w, o, "description", json_string(description));
    if (key->preset)
        put(w, o, "default", preset(key));
    put_range(w, o, key);
    put(w, o, "x-reload", json_string(restart ? "restart" : "live"));
    return o;
}

static json_t *required_one(struct writer *w, const char *a, const char *b)
{
    return one(w, "required", b ? json_pack("[ss]", a, b) : json_pack("[s]", a));
}

static json_t *choice_schema(struct writer *w, const struct schema_choice *c)
{
    json_t *list = json_array();
    for (int i = 0; i < SCHEMA_CHOICE_KEYS && c->keys[i]; i++) {
        if (c->how_many != CHOICE_AT_MOST_ONE)
            push(w, list, required_one(w, c->keys[i], NULL));
        for (int k = i + 1;
             c->how_many == CHOICE_AT_MOST_ONE && k < SCHEMA_CHOICE_KEYS && c->keys[k]; k++)
            push(w, list, required_one(w, c->keys[i], c->keys[k]));
    }
    if (c->how_many == CHOICE_AT_MOST_ONE)
        return one(w, "not", one(w, "anyOf", list));
    return one(w, c->how_many == CHOICE_EXACTLY_ONE ? "oneOf" : "anyOf", list);
}

/* "key" or "map.key" is there. */
static json_t *path_required(struct writer *w, const char *path)
{
    const char *dot = strchr(path, '.');
    char first[64];
    (void)snprintf(first, sizeof(first), "%.*s", (int)(dot ? dot - path : 63), path);
    json_t *o = required_one(w, first, NULL);
    if (dot)
        put(w, o, "properties", one(w, first, required_one(w, dot + 1, NULL)));
    return o;
}

static json_t *case_schema(struct writer *w, const struct schema_map *map,
                           const struct schema_case *c)
{
    const struct schema_key *key = schema_find(map, str_of(c->key));
    json_t *condition, *then = json_object(), *never = json_object();

    if (c->value) {
        /* Where the key is not there, `properties` holds: as it does for the default. */
        condition = one(w, "properties", one(w, c->key, one(w, "const", json_string(c->value))));
        if (!key || !key->preset || strcmp(key->preset, c->value) != 0)
            put(w, condition, "required", json_pack("[s]", c->key));
    } else {
        condition = path_required(w, c->key);
    }
    if (c->needs) {
        json_decref(then);
        then = path_required(w, c->needs);
    }
    for (int i = 0; i < SCHEMA_CASE_KEYS && c->never[i]; i++)
        put(w, never, c->never[i], json_false());
    if (c->never[0])
        put(w, then, "properties", never);
    else
        json_decref(never);
    json_t *o = one(w, "if", condition);
    put(w, o, "then", then);
    return o;
}

static json_t *map_schema(struct writer *w, const struct schema_map *map, bool restart)
{
    json_t *o = one(w, "type", json_string("object"));
    json_t *properties = json_object(), *required = json_array(), *all = json_array();

    for (uint32_t i = 0; i < map->n_keys; i++) {
        const struct schema_key *key = &map->keys[i];
        put(w, properties, key->name, key_schema(w, key, restart));
        if (key->flags & KEY_REQUIRED)
            push(w, required, json_string(key->name));
    }
    for (uint32_t i = 0; i < map->n_choices; i++)
        push(w, all, choice_schema(w, &map->choices[i]));
    for (uint32_t i = 0; i < map->n_cases; i++)
        push(w, all, case_schema(w, map, &map->cases[i]));
    put(w, o, "properties", properties);
    put(w, o, "additionalProperties", json_false());
    if (json_array_size(required) > 0)
        put(w, o, "required", json_incref(required));
    if (json_array_size(all) > 0)
        put(w, o, "allOf", json_incref(all));
    json_decref(required);
    json_decref(all);
    return o;
}

json_t *json_schema(void)
{
    struct writer w = {.defs = json_object()};
    json_t *o = json_object();

    put(&w, o, "$schema", json_string("https://json-schema.org/draft/2020-12/schema"));
    put(&w, o, "$id", json_string(JSON_SCHEMA_ID));
    put(&w, o, "title", json_string("sluice configuration"));
    json_t *variable = text_in(&w, "\\$\\{");
    put(&w, variable, "description",
        json_string("${VARIABLE} or ${VARIABLE:-default}: from the environment"));
    put(&w, w.defs, "variable", variable);
    json_t *root = map_schema(&w, &schema_root, false);
    if (!o || !root || json_object_update(o, root) < 0)
        w.failed = true;
    json_decref(root);
    put(&w, o, "$defs", w.defs);
    if (!w.failed)
        return o;
    json_decref(o);
    return NULL;
}
