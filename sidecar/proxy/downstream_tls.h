/* downstream_tls.h - a client's connection in its TLS handshake. */
#ifndef SLUICE_PROXY_DOWNSTREAM_TLS_H
#define SLUICE_PROXY_DOWNSTREAM_TLS_H

#include "proxy/downstream.h"

/* Until the handshake is done; then downstream_secured(). */
extern const struct downstream_ops downstream_tls_ops;

#endif
