/* websocket_key.c - did the server really agree to a WebSocket? */
#include "proxy/websocket_key.h"

#include <openssl/evp.h>

enum { KEY_TEXT = 24, SHA1_BYTES = 20, ACCEPT_TEXT = 28 };

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* 16 bytes are 22 digits and "==". OpenSSL's decoder is laxer: it skips spaces and newlines. */
static bool key_is_valid(struct str key)
{
    if (key.n != KEY_TEXT || key.p[22] != '=' || key.p[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++) {
        if (!is_base64(key.p[i]))
            return false;
    }
    return true;
}

bool websocket_accept_ok(struct str key, struct str accept)
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_TEXT + sizeof(guid) - 1];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char expected[ACCEPT_TEXT + 1];
    unsigned int n = 0;

    if (!key_is_valid(key) || accept.n != ACCEPT_TEXT)
        return false;
    memcpy(text, key.p, KEY_TEXT);
    memcpy(text + KEY_TEXT, guid, sizeof(guid) - 1);
    if (EVP_Digest(text, sizeof(text), digest, &n, EVP_sha1(), NULL) != 1 || n != SHA1_BYTES)
        return false;
    if (EVP_EncodeBlock(expected, digest, SHA1_BYTES) != ACCEPT_TEXT)
        return false;
    return memcmp(expected, accept.p, ACCEPT_TEXT) == 0;
}
