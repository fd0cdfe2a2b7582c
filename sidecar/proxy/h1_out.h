/* h1_out.h - a body on its way out of an HTTP/1 connection, behind what waits there already. */
#ifndef SLUICE_PROXY_H1_OUT_H
#define SLUICE_PROXY_H1_OUT_H

#include "http/message.h"
#include "io/conn.h"

/* Framed as `tx` says. Small pieces are copied behind the head and go out with it in one call,
 * large ones are sent from where they are. True when the kernel was handed something. A failure
 * breaks the connection, which its owner is told from the loop. */
bool h1_out_body(struct conn *c, enum body_kind tx, const char *p, size_t n);
/* What ends a body that is framed as `tx` says; trailers may be NULL. */
void h1_out_end(struct conn *c, enum body_kind tx, const struct message *trailers);

#endif
