/* pattern.c - formats and types as regular expressions. */
#include "config/pattern.h"

/* ---- addresses ---- */

#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4  OCTET "(?:\\." OCTET "){3}"
#define PORT                                                                                       \
    "0*(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"

#define HEX16 "[0-9A-Fa-f]{1,4}"
#define H     "(?:" HEX16 ":)" /* a group and what follows it */
#define T     "(?::" HEX16 ")" /* a group and what is before it */
#define IPV6                                                                                       \
    "(?:" H "{7}" HEX16 "|" H "{1,7}:|" H "{1,6}" T "|" H "{1,5}" T "{1,2}|" H "{1,4}" T           \
    "{1,3}|" H "{1,3}" T "{1,4}|" H "{1,2}" T "{1,5}|" H T "{1,6}|:(?:" T "{1,7}|:)|" H "{6}" IPV4 \
    "|::" H "{0,5}" IPV4 "|" H ":" H "{0,4}" IPV4 "|" H "{2}:" H "{0,3}" IPV4 "|" H "{3}:" H       \
    "{0,2}" IPV4 "|" H "{4}:" H "?" IPV4 "|" H "{5}:" IPV4 ")"

#define IP_PORT "(?:" IPV4 "|\\[" IPV6 "\\]):" PORT
#define UNIX    "unix:/[^\\u0000]{0,106}"
#define BITS4   "(?:/0*(?:3[0-2]|[12]?[0-9]))?"
#define BITS6   "(?:/0*(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?"

/* A name with a port: its last label is no number, or it would be a mistyped address. */
#define LABEL "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
#define NAME  LABEL "(?:\\." LABEL ")*\\.?"
#define NAME_PORT                                                                                  \
    "(?!(?:srv|unix):)(?!(?:[^:]*\\.)?(?:[0-9]+|0[xX][^.:]*)\\.?:)(?=[^:]{1,254}:)" NAME ":" PORT
#define SRV                                                                                        \
    "srv:(?=.{1,254}$)_(?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\\."                                    \
    "_(?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\\." NAME

/* ---- numbers with a unit ---- */

/* Whole microseconds, and bytes: no more decimals than the unit has. */
#define DURATION "[0-9]+(?:(?:\\.[0-9]{1,6})?[smh]|(?:\\.[0-9]{1,3}0{0,3})?ms|(?:\\.0{1,6})?us)|0"
#define SIZE     "[0-9]+(?:\\.[0-9]{1,6})?[KMG]iB|[0-9]+(?:\\.0{1,6})?B|0|[1-9][0-9]*"

/* ---- text ---- */

#define PRINTABLE  "[^\\u0000-\\u001f\\u007f]"
#define URL_CHAR   "[!$&'()*+,./0-9:;=@A-Z\\[\\]_a-z~-]"
#define TOKEN_CHAR "[A-Za-z0-9!#$%&'*+.^_`|~-]"
#define HOST       "(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,252}|\\[" IPV6 "\\])"

const char *pattern_of_format(enum format format)
{
    switch (format) {
    case FORMAT_TEXT:
        return NULL;
    case FORMAT_VALUE:
        return "^" PRINTABLE "*$";
    case FORMAT_LINE:
    case FORMAT_FILE:
        return "^" PRINTABLE "+$";
    case FORMAT_LABEL:
        return "^[a-z0-9-]{1,63}$";
    case FORMAT_NAME:
        return "^[A-Za-z0-9._-]{1,63}$";
    case FORMAT_SOCKET:
        return "^/" PRINTABLE "{1,106}$";
    case FORMAT_PATH:
        return "^(?!.*/\\.{1,2}(?:/|$))/(?:" URL_CHAR "|%[0-9A-F]{2})*$";
    case FORMAT_TARGET:
        return "^/[!\"$-~]*$";
    case FORMAT_HOST_PATTERN:
        return "^(?:\\*\\.)?" HOST "$";
    case FORMAT_HOST:
        return "^" HOST "$";
    case FORMAT_HOST_PORT:
        return "^" HOST "(?::" PORT ")?$";
    case FORMAT_TOKEN:
        return "^" TOKEN_CHAR "+$";
    case FORMAT_METHOD:
        return "^(?!(?:TRACE|CONNECT)$)(?=.*[A-Z])" TOKEN_CHAR "+$";
    case FORMAT_PSEUDONYM:
        return "^[A-Za-z0-9!#$%&'*+.^_`|~:\\[\\]-]+$";
    case FORMAT_MEDIA_TYPE:
        return "^(?! )(?=.*/)" PRINTABLE "+$";
    case FORMAT_URL:
        return "^https?://" HOST "(?::" PORT ")?(?:[/?](?:" URL_CHAR "|[%?])*)?$";
    case FORMAT_PERCENT:
        return "^0*(?:100(?:\\.0{1,4})?|[0-9]{1,2}(?:\\.[0-9]{1,4})?)$";
    case FORMAT_SPIFFE_RULE:
        return "^spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)*(?:/\\*)?$";
    }
    return NULL;
}

enum pattern_numbers pattern_numbers(enum format format)
{
    switch (format) {
    case FORMAT_SOCKET:
    case FORMAT_PATH:
    case FORMAT_TARGET:
    case FORMAT_METHOD:
    case FORMAT_MEDIA_TYPE:
    case FORMAT_URL:
    case FORMAT_SPIFFE_RULE:
        return NUMBERS_NONE;
    case FORMAT_LABEL:
        return NUMBERS_WHOLE;
    case FORMAT_PERCENT:
        return NUMBERS_PERCENT;
    case FORMAT_HOST:
    case FORMAT_HOST_PATTERN:
    case FORMAT_HOST_PORT:
        return NUMBERS_NOT_NEGATIVE;
    default:
        return NUMBERS_ANY;
    }
}

const char *pattern_of_type(enum schema_type type, uint32_t flags)
{
    switch (type) {
    case SCHEMA_DURATION:
        return "^(?:" DURATION ")$";
    case SCHEMA_SIZE:
        return "^(?:" SIZE ")$";
    case SCHEMA_MODE:
        return "^0?[0-7]{3}$";
    case SCHEMA_ADDRESS:
        return flags & KEY_NO_UNIX ? "^" IP_PORT "$" : "^(?:" IP_PORT "|" UNIX ")$";
    case SCHEMA_ENDPOINT:
        return "^(?:" IP_PORT "|" UNIX "|" NAME_PORT "|" SRV ")$";
    case SCHEMA_CIDR:
        return "^(?:" IPV4 BITS4 "|" IPV6 BITS6 ")$";
    default:
        return NULL;
    }
}
