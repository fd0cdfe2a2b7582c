/* field_rules.c - what no field may be called, and what no trailer may say. */
#include "http/field_rules.h"

bool field_underscore_double(struct str name)
{
    char dashed[32];
    if (name.n > sizeof(dashed))
        return false;
    for (size_t i = 0; i < name.n; i++)
        dashed[i] = name.p[i] == '_' ? '-' : name.p[i];
    return field_id_of((struct str){dashed, name.n}) != FIELD_OTHER;
}

bool field_forbidden_in_trailer(struct str name, enum field_id id)
{
    static const struct str more[] = {
        {"www-authenticate", 16}, {"set-cookie2", 11},      {"x-real-ip", 9}, {"range", 5},
        {"content-location", 16}, {"x-forwarded-port", 16},
    };
    if (id != FIELD_OTHER)
        return id != FIELD_PROXY_STATUS && id != FIELD_GRPC_STATUS && id != FIELD_GRPC_MESSAGE;
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        if (str_ieq(name, more[i]))
            return true;
    }
    return memchr(name.p, '_', name.n) && field_underscore_double(name);
}
