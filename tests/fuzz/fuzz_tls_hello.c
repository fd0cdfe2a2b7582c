/* fuzz_tls_hello.c - any bytes as a ClientHello: what is found whole is found in no beginning of
 * it, and more bytes change nothing. */
#include "base/check.h"
#include "http/tls_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    struct tls_hello whole = {0}, part = {0};
    enum tls_hello_result r = tls_hello_read(p, size, &whole);
    enum tls_hello_result before = TLS_HELLO_MORE;
    for (size_t n = 0; n <= size; n++) {
        enum tls_hello_result now = tls_hello_read(p, n, &part);
        CHECK(before == TLS_HELLO_MORE || now == before);
        before = now;
    }
    CHECK(before == r);
    if (r != TLS_HELLO_DONE)
        return 0;
    CHECK(whole.name_len <= TLS_HELLO_NAME_MAX && whole.name[whole.name_len] == '\0');
    CHECK(part.name_len == whole.name_len && memcmp(part.name, whole.name, whole.name_len) == 0);
    for (size_t i = 0; i < whole.name_len; i++)
        CHECK(whole.name[i] == '.' || whole.name[i] == '-' || whole.name[i] == '_' ||
              (whole.name[i] >= 'a' && whole.name[i] <= 'z') ||
              (whole.name[i] >= '0' && whole.name[i] <= '9'));
    return 0;
}
