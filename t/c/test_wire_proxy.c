/* Headers of the PROXY protocol: those of HAProxy, and what must not pass. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "recorded.h"
#include "tap.h"
#include "wire/proxy_header.h"

static etcp_proxy_header *new_header(void)
{
    etcp_proxy_header *h = calloc(1, sizeof *h);

    recorded_need(h != NULL, "out of memory");
    return h;
}

/* What became of bytes, as text: "127.0.0.1 99", "-", "more" or "error". */
static const char *result(const etcp_proxy_header *h, int rc)
{
    static char text[80];
    char ip[64] = "-";

    if (rc != 1)
        return rc == ETCP_AGAIN ? "more" : rc == ETCP_EPROXY ? "error" : "nonsense";
    if (!h->family)
        return "-";
    (void)inet_ntop(h->family == 4 ? AF_INET : AF_INET6, h->source, ip, sizeof ip);
    (void)snprintf(text, sizeof text, "%s %u", ip, h->port + 0u);
    return text;
}

static const char *feed(const void *bytes, size_t len, size_t *used)
{
    etcp_proxy_header *h = new_header();
    const char *text = result(h, etcp_proxy_header_feed(h, bytes, len, used));

    free(h);
    return text;
}

/* ---- HAProxy's
 * ----------------------------------------------------------------------------------- */

static int in_two(const uint8_t *bytes, size_t len, size_t cut, const char *want)
{
    etcp_proxy_header *h = new_header();
    size_t used, rest;
    int ok = etcp_proxy_header_feed(h, bytes, cut, &used) == ETCP_AGAIN && used == cut;

    ok = ok &&
         strcmp(result(h, etcp_proxy_header_feed(h, bytes + cut, len - cut, &rest)), want) == 0;
    free(h);
    return ok && rest == len - cut;
}

static void check_recorded(const char *name, const char *hex, const char *want)
{
    etcp_buf b;
    size_t used, cut, len;
    int wrong = 0;

    etcp_buf_init(&b);
    recorded_append_hex(&b, hex, strlen(hex));
    len = etcp_buf_len(&b);
    recorded_append_hex(&b, "0d0a505100", 10); /* what follows is not the header's */
    tap_is_str(feed(etcp_buf_bytes(&b), len + 5, &used), want, "%s", name);
    tap_is_int((long long)used, (long long)len, "its end");
    for (cut = 0; cut < len; cut++)
        wrong += !in_two(etcp_buf_bytes(&b), len, cut, want);
    tap_is_int(wrong, 0, "the same in two parts, wherever it is cut");
    etcp_buf_deinit(&b);
}

static void test_recorded(void)
{
    FILE *file = fopen("t/data/proxy.txt", "r");
    char line[1024], name[40], hex[800], ip[64];
    unsigned port;
    int count = 0;

    recorded_need(file != NULL, "t/data/proxy.txt");
    while (fgets(line, sizeof line, file)) {
        char want[80] = "-";

        if (line[0] == '#')
            continue;
        if (sscanf(line, "%39s %799s %63s %u", name, hex, ip, &port) == 4)
            (void)snprintf(want, sizeof want, "%s %u", ip, port);
        check_recorded(name, hex, want);
        count++;
    }
    (void)fclose(file);
    tap_ok(count >= 14, "all kinds were recorded");
}

/* ---- text
 * ---------------------------------------------------------------------------------------- */

static void test_text(void)
{
    static const char *const cases[][2] = {
        {"PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n", "1.2.3.4 0"},
        {"PROXY TCP6 2001:db8::1 ::2 1 2\r\n", "2001:db8::1 1"},
        {"PROXY UNKNOWN\r\n", "-"},
        {"PROXY UNKNOWN ffff:f...f:ffff anything 65535 65535\r\n", "-"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2", "more"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "more"},
        {"PROXY", "more"},
        {"P", "more"},
        {"PROXX", "error"},
        {"GET / HTTP/1.0\r\n", "error"},
        {"PROXY\r\n", "error"},
        {"PROXY \r\n", "error"},
        {"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", "error"},
        {"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", "error"},
        {"PROXY UNKNOWNX\r\n", "error"},
        {"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1  2\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "error"},
        {"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", "error"},
        {"PROXY TCP4 ::1 ::1 1 2\r\n", "error"},
        {"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 x 1 2\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999999999999999999\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", "error"},
        {"PROXY TCP4 1.2.3.4 5.6.7.8 1 2x\r\n", "error"},
    };
    char line[200];
    size_t used, i;

    for (i = 0; i < sizeof cases / sizeof *cases; i++)
        tap_is_str(feed(cases[i][0], strlen(cases[i][0]), &used), cases[i][1], "text %u",
                   (unsigned)i);
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + 105, "\r\n", 2);
    tap_is_str(feed(line, 107, &used), "-", "as long as a line may be");
    memcpy(line + 105, "x\r\n", 3);
    tap_is_str(feed(line, 108, &used), "error", "and longer by one");
    tap_is_int((long long)used, 107, "no more is read than that");
    tap_is_str(feed("PROXY UNKNOWN \0\r\n", 17, &used), "error", "a NUL");
}

/* ---- binary
 * -------------------------------------------------------------------------------------- */

static size_t binary(uint8_t *out, unsigned command, unsigned family, size_t length)
{
    memset(out, 0, ETCP_PROXY_FIXED + length);
    memcpy(out, "\r\n\r\n\0\r\nQUIT\n", 12);
    out[12] = (uint8_t)command;
    out[13] = (uint8_t)family;
    out[14] = (uint8_t)(length >> 8);
    out[15] = (uint8_t)length;
    return ETCP_PROXY_FIXED + length;
}

static void check_binary(unsigned command, unsigned family, size_t length, const char *want)
{
    uint8_t *bytes = malloc(ETCP_PROXY_FIXED + 65535);
    size_t used, len;

    recorded_need(bytes != NULL, "out of memory");
    len = binary(bytes, command, family, length);
    tap_is_str(feed(bytes, len, &used), want, "command %02x family %02x length %u", command, family,
               (unsigned)length);
    free(bytes);
}

static void test_binary(void)
{
    check_binary(0x21, 0x11, 12, "0.0.0.0 0");
    check_binary(0x21, 0x11, 11, "error");
    check_binary(0x21, 0x11, 0, "error");
    check_binary(0x21, 0x21, 36, ":: 0");
    check_binary(0x21, 0x21, 35, "error");
    check_binary(0x21, 0x31, 216, "-");
    check_binary(0x21, 0x00, 0, "-");
    check_binary(0x21, 0x00, 100, "-");
    check_binary(0x20, 0x11, 12, "-"); /* as some fill it: LOCAL, with zeros */
    check_binary(0x20, 0x99, 5, "-");
    check_binary(0x21, 0x12, 12, "error");
    check_binary(0x21, 0x41, 12, "error");
    check_binary(0x22, 0x11, 12, "error");
    check_binary(0x11, 0x11, 12, "error");
    check_binary(0x21, 0x00, 4096, "-");
    check_binary(0x21, 0x00, 4097, "error");
    check_binary(0x20, 0x00, 65535, "error");
    check_binary(0x21, 0x11, 15, "0.0.0.0 0"); /* one empty vector */
    check_binary(0x21, 0x11, 14, "error");     /* less than one */
}

/* A byte that is another one is found by the sum, whichever it is behind the family. */
static void test_sum(void)
{
    etcp_buf b;
    size_t used, i;
    int passed = 0;

    etcp_buf_init(&b);
    recorded_append_hex(
        &b, "0d0a0d0a000d0a515549540a211100137f0000017f000001d46e5e2b03000441a03048", 70);
    for (i = ETCP_PROXY_FIXED; i < etcp_buf_len(&b); i++) {
        uint8_t copy[64];

        if (i == 28)
            continue; /* it would be a vector of another type */
        memcpy(copy, etcp_buf_bytes(&b), etcp_buf_len(&b));
        copy[i] ^= 0x10;
        passed += strcmp(feed(copy, etcp_buf_len(&b), &used), "error") != 0;
    }
    tap_is_int(passed, 0, "a sum that is wrong");
    etcp_buf_deinit(&b);
}

int main(void)
{
    test_recorded();
    test_text();
    test_binary();
    test_sum();
    return tap_done();
}
