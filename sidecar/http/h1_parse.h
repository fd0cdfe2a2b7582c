/* h1_parse.h - HTTP/1.0 and 1.1 from bytes, strictly as RFC 9112 has it.
 *
 * A codec: no I/O, no allocation but a message's buffer, no clock. Fed bytes in pieces of any
 * size, it gives the same answer for every cut. There is exactly one reading of a message: what
 * RFC 9112 allows a recipient to "repair" (obs-fold, bare LF, repeated Content-Length, whitespace
 * before a colon) is refused. */
#ifndef SLUICE_HTTP_H1_PARSE_H
#define SLUICE_HTTP_H1_PARSE_H

#include "base/outcome.h"
#include "http/message.h"

struct h1_limits {
    uint32_t max_line;        /* request line or status line, bytes; default 8 KiB */
    uint32_t max_field_bytes; /* all field lines of a head, bytes; default 32 KiB */
    uint32_t max_fields;      /* field lines of a head; default 100 */
};

#define H1_LIMITS_DEFAULT ((struct h1_limits){8192, 32768, 100})

enum h1_result {
    H1_MORE,  /* all bytes were taken, the head goes on */
    H1_DONE,  /* the head is whole; bytes behind it were not taken */
    H1_ERROR, /* reason and detail say what; nothing more may be fed */
};

/* The state of one head being read. */
struct h1_head {
    struct h1_limits limits;
    enum reason reason;   /* with H1_ERROR; REASON_BAD_REQUEST etc. for requests,
                           * REASON_UPSTREAM_PROTOCOL or _HEADERS_TOO_LARGE for responses */
    const char *detail;   /* with H1_ERROR; a literal, for people */
    uint32_t line_start;  /* offset in message->buf of the line being read */
    uint32_t field_bytes; /* so far */
    uint8_t first_line_done;
    uint8_t leading_crlf;   /* bytes skipped of the one empty line before a request line */
    uint8_t seen;           /* bits: fields that may come once only, and what they said */
    uint8_t request_method; /* responses: enum http_method of the request that they answer */
    uint8_t is_trailer;     /* reads a trailer section: fields only, the forbidden ones left out */
};

/* For requests (message_init(m, true)) or responses (message_init(m, false), with the method of
 * the request, which decides whether there is a body: RFC 9112 §6.3). */
void h1_head_init(struct h1_head *h, const struct h1_limits *limits, enum http_method request);

/* Takes at most n bytes of in; *ret_taken says how many. On H1_DONE the message is complete:
 * method, path, query, authority, version, body, content_length, the connection_* bits and all
 * fields are set, and consistent with each other. A declared Content-Length of 0 is BODY_LENGTH
 * with 0; where a response has no body by its kind (HEAD, 304) content_length still tells what it
 * declared, but not in 1xx and 204, which may not declare any. The message is empty before. */
enum h1_result h1_head_feed(struct h1_head *h, struct message *m, const char *in, size_t n,
                            size_t *ret_taken);

/* True once a byte of a head was taken (leading CRLF does not count). */
static inline bool h1_head_begun(const struct h1_head *h, const struct message *m)
{
    return h->first_line_done || m->len > 0;
}

/* The framing of a body: takes the bytes from the wire, gives the payload's. */
struct h1_body {
    uint8_t kind;             /* enum body_kind */
    uint8_t state;            /* of the chunked decoder */
    uint8_t size_digits;      /* of the chunk size being read; at most 16 */
    uint8_t done;             /* nothing more belongs to this message */
    uint32_t extension_bytes; /* of all chunks so far; at most 4 KiB */
    uint64_t left;            /* of the body (BODY_LENGTH) or of the chunk */
    enum reason reason;       /* with H1_ERROR */
    uint8_t is_request;
    const char *detail;
    struct h1_head *trailer; /* reads the trailer section */
};

/* For the message m whose head is complete. `head` has read it (or another one, or is new): it
 * reads the trailer section, by its own limits, and is to be initialised again for the next head.
 */
void h1_body_init(struct h1_body *b, const struct message *m, struct h1_head *head);

/* Takes bytes until a piece of payload is found or in is used up. *ret_data is a slice of in,
 * empty when there is none yet. H1_DONE: the body (and its trailers, added to `trailers`, which
 * the caller has initialised) is whole; call again for H1_MORE until everything is taken.
 * Trailer fields that carry framing, routing, Host, authentication or connection control are
 * dropped (RFC 9110 §6.5.1). BODY_CLOSE never is done: the caller sees the connection's end. */
enum h1_result h1_body_feed(struct h1_body *b, struct message *trailers, const char *in, size_t n,
                            size_t *ret_taken, struct str *ret_data);

#endif
