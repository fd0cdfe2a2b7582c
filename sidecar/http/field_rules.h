/* field_rules.h - what no field may be called, and what no trailer may say, whatever carried it. */
#ifndef SLUICE_HTTP_FIELD_RULES_H
#define SLUICE_HTTP_FIELD_RULES_H

#include "http/message.h"

/* A name like Transfer_Encoding: an application behind CGI or WSGI reads it as the field with
 * dashes, which it then has past us. */
bool field_underscore_double(struct str name);

/* What a trailer may not say (RFC 9110 §6.5.1): framing, routing, Host, authentication, connection
 * control; of the fields that we know, all but a few. */
bool field_forbidden_in_trailer(struct str name, enum field_id id);

#endif
