/* json_take.h - values out of a JSON text (RFC 8259) that comes in pieces: no tree, no allocation,
 * bounded depth. How the text is cut never matters.
 *
 * A value is a string (decoded, as UTF-8), a number (as it is written), true or false. Where its
 * path leads to null, an object or an array, or to nothing, there is none. Of members with the same
 * name the last counts, as in jansson, Python and JavaScript (RFC 8259 §4), whatever an earlier one
 * had: so values are known when the text has ended. A text that is malformed, or deeper than
 * JSON_TAKE_DEPTH_MAX, gives nothing. */
#ifndef SLUICE_POLICIES_JSON_TAKE_H
#define SLUICE_POLICIES_JSON_TAKE_H

#include "policies/json_path.h"

enum {
    JSON_TAKE_PATHS_MAX = 8,
    JSON_TAKE_DEPTH_MAX = 32,
};

/* A value, and where it goes; bytes are the owner's. */
struct json_value {
    const struct json_path *path;
    char *bytes;
    uint32_t cap;
    uint32_t len;
    bool found;
    bool too_long; /* it was there, and longer than cap */
};

enum json_state { JSON_MORE, JSON_WHOLE, JSON_MALFORMED };

struct json_take {
    uint32_t n;
    struct json_value *values;
    uint8_t state; /* enum state of json_take.c */
    uint8_t depth;
    uint8_t utf8_left; /* bytes that the character under way still needs */
    uint8_t utf8_min, utf8_max;
    uint8_t hex_left;
    uint8_t literal, literal_at; /* which of true, false, null, and how far */
    bool is_key;
    bool key_too_long;
    uint16_t hex, high; /* high: a high surrogate that waits for its low one */
    uint32_t here;      /* bits: the paths that lead to the value under way or through it */
    uint32_t taking;    /* bits: the paths that end at it */
    uint32_t key_len;
    char key[JSON_NAME_MAX];
    struct {
        bool object;
        uint32_t on;    /* bits: the paths that lead to this container or through it */
        uint32_t index; /* of the element under way */
    } stack[JSON_TAKE_DEPTH_MAX];
};

/* values[0..n), n at most JSON_TAKE_PATHS_MAX, stay where they are until the end. */
void json_take_init(struct json_take *t, struct json_value *values, uint32_t n);
/* JSON_WHOLE: what follows is only white space (or makes it malformed). */
enum json_state json_take_feed(struct json_take *t, const char *p, size_t n);
/* The text has ended: JSON_WHOLE or JSON_MALFORMED. Values count after JSON_WHOLE only; after
 * JSON_MALFORMED none is `found`. */
enum json_state json_take_end(struct json_take *t);

#endif
