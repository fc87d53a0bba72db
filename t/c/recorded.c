#include "recorded.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#include <openssl/provider.h>
#endif

static const char text[] = "Net::EasyTCP compressible text 0123456789. ";

void recorded_need(int ok, const char *what)
{
    if (!ok) {
        printf("Bail out! %s\n", what);
        exit(1);
    }
}

static unsigned hex_digit(int c)
{
    recorded_need(isxdigit(c), "hex digit expected");
    return (unsigned)(isdigit(c) ? c - '0' : tolower(c) - 'a' + 10);
}

void recorded_append_hex(etcp_buf *out, const char *hex, size_t digits)
{
    for (size_t i = 0; i + 1 < digits; i += 2)
        recorded_need(etcp_buf_append_byte(
                          out, (uint8_t)(hex_digit(hex[i]) << 4 | hex_digit(hex[i + 1]))) == 0,
                      "out of memory");
}

/* From a context of its own: what the tests are made of does not depend on the machine's policy. */
static const EVP_MD *sha256(void)
{
#if OPENSSL_VERSION_NUMBER >= 0x30000000L
    static OSSL_LIB_CTX *own;
    static EVP_MD *found;

    if (!own) {
        own = OSSL_LIB_CTX_new();
        (void)OSSL_PROVIDER_load(own, "default");
        found = EVP_MD_fetch(own, "SHA256", NULL);
    }
    return found;
#else
    return EVP_sha256();
#endif
}

static void append_random(etcp_buf *out, const char *seed, size_t seed_len, size_t len, int mask)
{
    for (unsigned i = 0; len; i++) {
        char name[128];
        uint8_t digest[32];
        const int n =
            snprintf(name, sizeof name, "net-easytcp-vector:%.*s:%u", (int)seed_len, seed, i);
        const size_t take = len < sizeof digest ? len : sizeof digest;

        recorded_need(EVP_Digest(name, (size_t)n, digest, NULL, sha256(), NULL), "no SHA-256");
        for (size_t k = 0; k < take; k++)
            digest[k] &= (uint8_t)mask;
        recorded_need(etcp_buf_append(out, digest, take) == 0, "out of memory");
        len -= take;
    }
}

static void append_repeated(etcp_buf *out, const char *seed, size_t seed_len, const char *numbers)
{
    char *rest;
    const size_t period = strtoul(numbers, &rest, 10);
    const size_t len = strtoul(rest + 1, NULL, 10);
    etcp_buf part;

    etcp_buf_init(&part);
    append_random(&part, seed, seed_len, period, 0xff);
    for (size_t i = 0; i < len; i++)
        recorded_need(etcp_buf_append_byte(out, etcp_buf_bytes(&part)[i % period]) == 0,
                      "out of memory");
    etcp_buf_deinit(&part);
}

static void append_term(etcp_buf *out, const char *term, size_t term_len)
{
    const char *colon = memchr(term, ':', term_len);
    const size_t seed_len = colon ? (size_t)(colon - term) - 1 : 0;
    const size_t n = strtoul(colon ? colon + 1 : term + 1, NULL, 10);

    switch (term[0]) {
    case 'h': recorded_append_hex(out, term + 1, term_len - 1); return;
    case 'p': append_random(out, term + 1, seed_len, n, 0xff); return;
    case 'n': append_random(out, term + 1, seed_len, n, 0x0f); return;
    case 'r': append_repeated(out, term + 1, seed_len, colon + 1); return;
    case 'z':
    case 't':
        for (size_t i = 0; i < n; i++)
            recorded_need(etcp_buf_append_byte(out, term[0] == 'z' ? '0' : (uint8_t)text[i % 43]) ==
                              0,
                          "out of memory");
        return;
    default: recorded_need(0, "unknown kind of message");
    }
}

void recorded_make(etcp_buf *out, const char *spec)
{
    etcp_buf_clear(out);
    while (*spec) {
        const size_t len = strcspn(spec, "+");

        append_term(out, spec, len);
        spec += len + (spec[len] == '+');
    }
}

int recorded_is_content(const etcp_buf *b, const etcp_buf *want)
{
    return etcp_buf_len(b) == etcp_buf_len(want) &&
           memcmp(etcp_buf_bytes(b), etcp_buf_bytes(want), etcp_buf_len(b)) == 0;
}

int recorded_has_digest(const etcp_buf *b, const char *want)
{
    uint8_t digest[32];
    char hex[65];

    recorded_need(EVP_Digest(etcp_buf_bytes(b), etcp_buf_len(b), digest, NULL, sha256(), NULL),
                  "no SHA-256");
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return strcmp(hex, want) == 0;
}
