#include <stdint.h>
#include <string.h>

#include "alloc.h"
#include "base/armour.h"
#include "base/error.h"
#include "tap.h"

typedef int (*transform)(etcp_buf *out, const uint8_t *bytes, size_t len);

static void test_gives(transform f, const char *in, size_t in_len, const char *want,
                       size_t want_len, const char *what)
{
    etcp_buf out;

    etcp_buf_init(&out);
    tap_is_int(f(&out, (const uint8_t *)in, in_len), 0, "%s: works", what);
    tap_is_mem(etcp_buf_bytes(&out), etcp_buf_len(&out), want, want_len, "%s", what);
    etcp_buf_deinit(&out);
}

static void test_decoding(void)
{
    static const struct {
        const char *in, *want, *what;
    } cases[] = {
        {"", "", "nothing"},
        {"%41%42", "AB", "two bytes"},
        {"x%41y", "xAy", "between plain characters"},
        {"%6a", "%6a", "lower-case digits are not digits"},
        {"%4", "%4", "cut short after one digit"},
        {"%41%", "A%", "a lone percent sign at the end"},
        {"%%41", "%A", "two percent signs"},
        {"%4%41", "%4A", "a percent sign where the second digit should be"},
        {"%G1%1G", "%G1%1G", "letters behind F"},
        {"%25%34%31", "%41", "decoded once only"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        test_gives(etcp_armour_decode, cases[i].in, strlen(cases[i].in), cases[i].want,
                   strlen(cases[i].want), cases[i].what);
    test_gives(etcp_armour_decode, "a\0%00", 5, "a\0\0", 3, "NULs, plain and armoured");
}

static void test_encoding(void)
{
    etcp_buf text, back;
    uint8_t all[256];
    int wrong = 0;

    test_gives(etcp_armour_encode, "", 0, "", 0, "encoding nothing");
    test_gives(etcp_armour_encode, "\0a\xff\x0f", 4, "%00%61%FF%0F", 12, "upper case, two digits");
    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    etcp_buf_init(&text);
    etcp_buf_init(&back);
    etcp_buf_append_str(&text, "EM");
    etcp_armour_encode(&text, all, sizeof all);
    tap_is_mem(etcp_buf_bytes(&text), 2, "EM", 2, "what was there before stays");
    etcp_armour_decode(&back, etcp_buf_bytes(&text) + 2, etcp_buf_len(&text) - 2);
    tap_is_mem(etcp_buf_bytes(&back), etcp_buf_len(&back), all, sizeof all,
               "every byte comes back");
    for (size_t len = 0; len < etcp_buf_len(&text); len++) {
        etcp_buf_clear(&back);
        wrong += etcp_armour_decode(&back, etcp_buf_bytes(&text), len) != 0;
        wrong += etcp_buf_len(&back) > len;
    }
    tap_is_int(wrong, 0, "every beginning decodes to something no longer");
    etcp_buf_deinit(&text);
    etcp_buf_deinit(&back);
}

static void test_failure(void)
{
    etcp_buf out;

    etcp_buf_init(&out);
    alloc_fail_at(1);
    tap_is_int(etcp_armour_encode(&out, (const uint8_t *)"a", 1), ETCP_ENOMEM, "encode: no memory");
    alloc_fail_at(1);
    tap_is_int(etcp_armour_decode(&out, (const uint8_t *)"a", 1), ETCP_ENOMEM, "decode: no memory");
    tap_is_int(etcp_armour_encode(&out, (const uint8_t *)"a", SIZE_MAX / 2), ETCP_ENOMEM,
               "encode: three times the size would wrap");
    tap_is_int((long long)etcp_buf_len(&out), 0, "the buffer is as it was");
    alloc_reset();
}

int main(void)
{
    test_decoding();
    test_encoding();
    test_failure();
    return tap_done();
}
