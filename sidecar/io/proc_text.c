/* proc_text.c - reading lines of the kernel's. */
#include "io/proc_text.h"

#include <string.h>

/* Version 1 says "no limit" by the largest number of whole pages in a long. */
#define V1_NO_LIMIT (UINT64_C(1) << 62)

static struct str cut(struct str *rest, char at)
{
    const char *end = rest->n > 0 ? memchr(rest->p, at, rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    struct str head = {rest->p, n}; /* behind the last one nothing is left */
    size_t gone = end ? n + 1 : n;
    *rest = (struct str){rest->p + gone, rest->n - gone};
    return head;
}

static bool has_word(struct str list, struct str word)
{
    while (list.n > 0) {
        if (str_eq(cut(&list, ','), word))
            return true;
    }
    return false;
}

/* "4:memory:/a", "0::/a". */
bool proc_text_cgroup(struct str text, enum cgroup_version v, struct str *ret)
{
    while (text.n > 0) {
        struct str path = cut(&text, '\n');
        struct str id = cut(&path, ':'), controllers = cut(&path, ':');
        bool wanted = v == CGROUP_V2 ? str_eq(id, STR("0")) && controllers.n == 0
                                     : has_word(controllers, STR("memory"));
        if (wanted && path.n > 0 && path.p[0] == '/') {
            *ret = path;
            return true;
        }
    }
    return false;
}

/* A space is \040. */
static bool unescape(struct str s, char *out)
{
    size_t o = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (o + 1 >= PROC_PATH_MAX)
            return false;
        if (s.p[i] == '\\' && s.n - i > 3) {
            out[o++] =
                (char)((s.p[i + 1] - '0') * 64 + (s.p[i + 2] - '0') * 8 + (s.p[i + 3] - '0'));
            i += 3;
        } else {
            out[o++] = s.p[i];
        }
    }
    out[o] = '\0';
    return o > 0;
}

/* "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory" */
bool proc_text_mount(struct str text, enum cgroup_version v, char *ret_root, char *ret_point)
{
    while (text.n > 0) {
        struct str line = cut(&text, '\n'), root, point;
        for (int i = 0; i < 3; i++)
            (void)cut(&line, ' ');
        root = cut(&line, ' ');
        point = cut(&line, ' ');
        while (line.n > 0 && !str_eq(cut(&line, ' '), STR("-")))
            ;
        struct str type = cut(&line, ' ');
        (void)cut(&line, ' '); /* the source */
        bool wanted = v == CGROUP_V2 ? str_eq(type, STR("cgroup2"))
                                     : str_eq(type, STR("cgroup")) && has_word(line, STR("memory"));
        if (wanted && unescape(root, ret_root) && unescape(point, ret_point))
            return true;
    }
    return false;
}

bool proc_text_number(struct str text, uint64_t *ret)
{
    struct str line = cut(&text, '\n');
    if (str_eq(line, STR("max"))) {
        *ret = UINT64_MAX;
        return true;
    }
    if (!str_to_u64(line, ret))
        return false;
    if (*ret >= V1_NO_LIMIT)
        *ret = UINT64_MAX;
    return true;
}

bool proc_text_stat(struct str text, struct str key, uint64_t *ret)
{
    while (text.n > 0) {
        struct str line = cut(&text, '\n');
        if (str_eq(cut(&line, ' '), key))
            return str_to_u64(line, ret);
    }
    return false;
}

/* "some avg10=1.53 avg60=0.87 avg300=0.22 total=9843"; percent with two digits behind the point. */
bool proc_text_pressure(struct str text, struct str kind, uint32_t *ret_ppm)
{
    uint64_t whole, part;
    while (text.n > 0) {
        struct str line = cut(&text, '\n');
        if (!str_eq(cut(&line, ' '), kind))
            continue;
        struct str value = cut(&line, ' ');
        if (!str_eq(cut(&value, '='), STR("avg10")))
            return false;
        struct str front = cut(&value, '.');
        if (!str_to_u64(front, &whole) || value.n != 2 || !str_to_u64(value, &part) || whole > 100)
            return false;
        *ret_ppm = (uint32_t)(whole * 10000 + part * 100);
        return true;
    }
    return false;
}
