/* downstream_sniff.h - a client's connection whose first bytes decide what becomes of it. */
#ifndef SLUICE_PROXY_DOWNSTREAM_SNIFF_H
#define SLUICE_PROXY_DOWNSTREAM_SNIFF_H

#include "proxy/downstream.h"

/* Of a listener with protocol tls: a ClientHello, by whose server name the connection is passed
 * through; or auto: HTTP/2, HTTP/1 or, by what it says or by silence, bytes for its backends. */
void downstream_sniff_begin(struct downstream *d);

/* Instead of the server that is not there: a fatal alert (RFC 8446 §6.2). */
enum { ALERT_DECODE_ERROR = 50, ALERT_UNRECOGNIZED_NAME = 112 };
void downstream_send_alert(struct downstream *d, uint8_t alert);

#endif
