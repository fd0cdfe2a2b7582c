/* demo_app_device.c - a device that keeps a session locked until its logout. */
#include "demo_app_device.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { KEPT = 65536, KEY_BYTES = 64, LINE_BYTES = 256 };

/* Each that ever was, the last KEPT of them. */
struct session {
    uint64_t number; /* 0: none */
    uint64_t secret;
    usec_t login, logout;
    uint32_t logouts, keys; /* requests that ended it; those of them under another key */
    uint32_t used_late;
    char key[KEY_BYTES]; /* of the first */
};

static struct {
    struct session *all; /* by number % KEPT */
    uint32_t limit, held;
    uint64_t logins, refused, released, repeated, doubled, unknown, used_late;
    struct rng rng;
} device;

int device_init(uint32_t limit)
{
    device.all = mem_zalloc(KEPT * sizeof(*device.all));
    if (!device.all)
        return -ENOMEM;
    device.limit = limit;
    rng_init_random(&device.rng);
    return 0;
}

bool device_is_one(void)
{
    return device.all != NULL;
}

static struct session *slot(uint64_t number)
{
    return &device.all[number % KEPT];
}

uint64_t device_login(void)
{
    struct session *s = slot(device.logins + 1);

    if (device.held >= device.limit || (s->number && !s->logout)) {
        device.refused++;
        return 0;
    }
    device.logins++;
    device.held++;
    *s = (struct session){
        .number = device.logins, .secret = rng_next(&device.rng), .login = clock_mono()};
    return s->number;
}

void device_id(uint64_t number, char *out)
{
    (void)snprintf(out, DEVICE_ID_BYTES, "s%" PRIu64 "-%016" PRIx64, number, slot(number)->secret);
}

static struct session *find(struct str id)
{
    char whole[DEVICE_ID_BYTES];
    const char *dash = id.n > 2 && id.p[0] == 's' ? memchr(id.p, '-', id.n) : NULL;
    uint64_t number = 0;

    if (!dash || !str_to_u64((struct str){id.p + 1, (size_t)(dash - id.p - 1)}, &number) ||
        number == 0 || slot(number)->number != number)
        return NULL;
    device_id(number, whole);
    return str_eq(str_of(whole), id) ? slot(number) : NULL;
}

unsigned device_logout(struct str id, struct str idempotency_key)
{
    struct session *s = find(id);

    if (!s) {
        device.unknown++;
        return 404;
    }
    struct str key = {idempotency_key.p, idempotency_key.n};
    if (key.n >= KEY_BYTES)
        key.n = KEY_BYTES - 1;
    s->logouts++;
    if (s->logout && key.n > 0 && str_eq(key, str_of(s->key))) {
        device.repeated++;
        return 204;
    }
    s->keys++;
    if (s->logout) {
        device.doubled++;
        return 404;
    }
    s->logout = clock_mono();
    if (key.n > 0)
        memcpy(s->key, key.p, key.n);
    device.held--;
    device.released++;
    return 204;
}

unsigned device_use(struct str id)
{
    struct session *s = find(id);
    if (s && !s->logout)
        return 200;
    if (s)
        s->used_late++;
    device.used_late++;
    return 403;
}

char *device_list(size_t *ret_n)
{
    size_t room = LINE_BYTES * 2 + (size_t)device.held * DEVICE_ID_BYTES * 2, n = 0;
    char *out = mem_alloc(room), id[DEVICE_ID_BYTES];
    const char *comma = "";

    if (!out)
        return NULL;
    n += (size_t)snprintf(out, room,
                          "{\"limit\":%" PRIu32 ",\"held\":%" PRIu32 ",\"logins\":%" PRIu64
                          ",\"refused\":%" PRIu64 ",\"released\":%" PRIu64 ",\"repeated\":%" PRIu64
                          ",\"double\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"usedLate\":%" PRIu64
                          ",\"sessions\":[",
                          device.limit, device.held, device.logins, device.refused, device.released,
                          device.repeated, device.doubled, device.unknown, device.used_late);
    for (size_t i = 0; i < KEPT; i++) {
        if (!device.all[i].number || device.all[i].logout)
            continue;
        device_id(device.all[i].number, id);
        n += (size_t)snprintf(out + n, room - n, "%s\"%s\"", comma, id);
        comma = ",";
    }
    n += (size_t)snprintf(out + n, room - n, "]}\n");
    *ret_n = n;
    return out;
}

char *device_one(struct str id, size_t *ret_n)
{
    const struct session *s = find(id);
    char *out = mem_alloc(LINE_BYTES);

    if (!out)
        return NULL;
    int n =
        s ? snprintf(out, LINE_BYTES,
                     "{\"state\":\"%s\",\"loginUs\":%" PRIu64 ",\"logoutUs\":%" PRIu64
                     ",\"logouts\":%" PRIu32 ",\"keys\":%" PRIu32 ",\"usedLate\":%" PRIu32 "}\n",
                     s->logout ? "released" : "held", s->login, s->logout, s->logouts, s->keys,
                     s->used_late)
          : snprintf(out, LINE_BYTES, "{\"state\":\"unknown\"}\n");
    *ret_n = (size_t)n;
    return out;
}
