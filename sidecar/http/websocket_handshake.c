/* websocket_handshake.c - how a WebSocket begins, by HTTP/1.1 and by HTTP/2. */
#include "http/websocket_handshake.h"

#include <errno.h>
#include <openssl/evp.h>

enum { KEY_BYTES = 16, SHA1_BYTES = 20 };

bool websocket_is_upgrade(const struct message *m)
{
    if (!m->connection_upgrade)
        return false;
    if (m->is_request ? m->version_minor != 1 || m->method != METHOD_GET || m->body != BODY_NONE
                      : m->status != 101)
        return false;
    const struct field *f = message_find(m, FIELD_UPGRADE);
    return f && str_ieq(field_value(m, f), STR("websocket"));
}

/* --- keys --- */

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* 16 bytes are 22 digits and "==". OpenSSL's decoder is laxer: it skips spaces and newlines. */
bool websocket_key_ok(struct str key)
{
    if (key.n != WEBSOCKET_KEY_LEN || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        if (!is_base64(key.p[i]))
            return false;
    }
    return true;
}

bool websocket_accept_for(struct str key, char ret_accept[WEBSOCKET_ACCEPT_LEN])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[WEBSOCKET_KEY_LEN + sizeof(guid) - 1];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char encoded[WEBSOCKET_ACCEPT_LEN + 1];
    unsigned int n = 0;

    if (key.n != WEBSOCKET_KEY_LEN)
        return false;
    memcpy(text, key.p, WEBSOCKET_KEY_LEN);
    memcpy(text + WEBSOCKET_KEY_LEN, guid, sizeof(guid) - 1);
    if (EVP_Digest(text, sizeof(text), digest, &n, EVP_sha1(), NULL) != 1 || n != SHA1_BYTES)
        return false;
    if (EVP_EncodeBlock(encoded, digest, SHA1_BYTES) != WEBSOCKET_ACCEPT_LEN)
        return false;
    memcpy(ret_accept, encoded, WEBSOCKET_ACCEPT_LEN);
    return true;
}

bool websocket_accept_ok(struct str key, struct str accept)
{
    char expected[WEBSOCKET_ACCEPT_LEN];
    return websocket_key_ok(key) && accept.n == WEBSOCKET_ACCEPT_LEN &&
           websocket_accept_for(key, expected) &&
           memcmp(expected, accept.p, WEBSOCKET_ACCEPT_LEN) == 0;
}

int websocket_add_key(struct message *req, struct rng *rng)
{
    uint64_t nonce[KEY_BYTES / sizeof(uint64_t)];
    unsigned char text[WEBSOCKET_KEY_LEN + 1];
    for (size_t i = 0; i < sizeof(nonce) / sizeof(nonce[0]); i++)
        nonce[i] = rng_next(rng);
    /* Cannot fail: it only writes digits. */
    (void)EVP_EncodeBlock(text, (const unsigned char *)nonce, KEY_BYTES);
    (void)message_drop(req, FIELD_SEC_WEBSOCKET_KEY);
    return message_add_known(req, FIELD_SEC_WEBSOCKET_KEY,
                             (struct str){(const char *)text, WEBSOCKET_KEY_LEN});
}

int websocket_add_accept(struct message *res, struct str key)
{
    char accept[WEBSOCKET_ACCEPT_LEN];
    if (!websocket_accept_for(key, accept))
        return -ENOMEM;
    (void)message_drop(res, FIELD_SEC_WEBSOCKET_ACCEPT);
    return message_add_known(res, FIELD_SEC_WEBSOCKET_ACCEPT, (struct str){accept, sizeof(accept)});
}

/* --- HTTP/2 --- */

/* What both directions have in common: the fields of HTTP/1.1's handshake. */
static int to_upgrade(struct message *m)
{
    for (uint32_t i = 0; i < m->n_fields; i++) {
        if (websocket_field_is_h1(&m->fields[i]) || m->fields[i].id == FIELD_CONTENT_LENGTH)
            m->fields[i].dropped = 1;
    }
    m->websocket = 1;
    m->connection_upgrade = 1;
    m->body = BODY_NONE;
    m->content_length = 0;
    return message_add_known(m, FIELD_UPGRADE, STR("websocket"));
}

int websocket_from_connect(struct message *req, struct str protocol)
{
    if (!str_ieq(protocol, STR("websocket")))
        return -EPROTONOSUPPORT;
    if (message_append(req, "GET", 3, &req->method_text) < 0)
        return -ENOMEM;
    req->method = METHOD_GET;
    return to_upgrade(req);
}

int websocket_from_ok(struct message *res)
{
    if (res->status / 100 != 2)
        return 0;
    res->status = 101;
    res->reason = (struct text){0};
    return to_upgrade(res);
}
