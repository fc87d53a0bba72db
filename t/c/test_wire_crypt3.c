/* csrc/wire/crypt3.c, munge.c and password.c: what a password becomes; and numbers of versions. */
#include "wire/crypt3.h"

#include <string.h>

#include "base/buf.h"
#include "tap.h"
#include "wire/munge.h"
#include "wire/negotiate.h"
#include "wire/password.h"

/* Made with libxcrypt's crypt(3). */
static const struct crypt_case {
    const char *password;
    const char *salt;
    const char *hash;
} crypt_cases[] = {
    {"", "aa", "aaQSqAReePlq6"},
    {"a", "zz", "zzJZ5PtvFqi9o"},
    {"password", "ab", "abJnggxhB/yWI"},
    {"password", "ba", "ba5RwAwihj/nA"},
    {"secret", "..", "..EBVOMug1tuI"},
    {"secret", "zz", "zz1T8N4tWvmbE"},
    {"secret", "//", "//xIfm5vU7LPw"},
    {"12345678", "9A", "9AXTAB8W/zfvo"},
    {"test", "yk", "yk4lsnPA3ka82"},
    {"UUUUUUUU", "U*", "*0"},
    {"x", "*0", "*1"},
    {"x", "i)", "*0"},
    {"x", "&5", "*0"},
    {"T;gjM-", "5P", "5P9O69kbAc7jY"},
    {"L", "rp", "rpnKRHThtaRSI"},
    {"4L", "q5", "q5G6a1Uq.X.ek"},
    {"P2h;g2fR#>", "GD", "GDX7dliox1C3U"},
    {"%xNy.Mih0~", "qc", "qcU85TstynBhI"},
    {"^-$5x5k$", "zf", "zfaiPh8zRZ0u."},
    {"!jP>v*T}", "p3", "p3jzNZKNZf5iA"},
    {"&*", "gz", "gzsT.z5D1hTbA"},
    {"^iL8{ih%]!", "lg", "lgwpSAdlvSeVw"},
    {"_", "hJ", "hJKLzkIUuLuwo"},
    {"O~h1!Q5;;~", "8J", "8J5klqXBUCUTw"},
    {"<9R@9>,/", "RH", "RH7Je8jwd0p7U"},
    {"wT", "RR", "RRRAPJiCTxCnk"},
    {"}", "LV", "LVzaS4cFwxjyI"},
    {"aS>.&", "E4", "E4zkSo4GoQtnk"},
    {";;<;N|<h", "M6", "M6LdXsgHNsIsg"},
    {"[UO*", "4B", "4BOq20isr2HHI"},
    {"T", "Ai", "AiRalkziPzNco"},
    {"dj0/T6+-{P", "Cy", "Cyc2LroNDwMWI"},
    {"||%kSN*7", "xI", "xI3NctphlPt2Y"},
};

static void hash(const char *password, const char *salt, char out[ETCP_CRYPT3_SIZE])
{
    etcp_crypt3((const uint8_t *)password, strlen(password), (const uint8_t *)salt, out);
}

static void test_vectors(void)
{
    char got[ETCP_CRYPT3_SIZE];
    size_t i;

    for (i = 0; i < sizeof crypt_cases / sizeof crypt_cases[0]; i++) {
        const struct crypt_case *c = &crypt_cases[i];

        hash(c->password, c->salt, got);
        tap_is_str(got, c->hash, "crypt3 case %lu", (unsigned long)i);
    }
}

static void test_limits_of_crypt3(void)
{
    char a[ETCP_CRYPT3_SIZE];
    char b[ETCP_CRYPT3_SIZE];

    hash("password", "ab", a);
    hash("passwordX", "ab", b);
    tap_is_str(a, b, "crypt3: eight characters count");
    etcp_crypt3((const uint8_t *)"pass\0word", 9, (const uint8_t *)"ab", a);
    hash("pass", "ab", b);
    tap_is_str(a, b, "crypt3: a NUL ends the password");
    hash("caf\xe9", "ab", a);
    hash("cafi", "ab", b);
    tap_is_str(a, b, "crypt3: seven bits count");
    etcp_crypt3(NULL, 0, (const uint8_t *)"ab", a);
    hash("", "ab", b);
    tap_is_str(a, b, "crypt3: no password is the empty one");
}

static void test_salts(void)
{
    static const char valid[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char got[ETCP_CRYPT3_SIZE];
    unsigned wrong = 0;
    unsigned first;
    unsigned second;

    for (first = 0; first < 256; first++) {
        for (second = 0; second < 256; second++) {
            uint8_t salt[2];
            int want;

            salt[0] = (uint8_t)first;
            salt[1] = (uint8_t)second;
            want = first && second && strchr(valid, (int)first) && strchr(valid, (int)second);
            if (etcp_crypt3_salt_is_valid(salt) != want)
                wrong++;
            if (want)
                continue;
            etcp_crypt3((const uint8_t *)"x", 1, salt, got);
            if (strcmp(got, first == '*' && second == '0' ? "*1" : "*0") != 0)
                wrong++;
        }
    }
    tap_is_int(wrong, 0, "crypt3: every other salt gives the failure token");
}

static void test_munge(void)
{
    uint8_t text[] = "rtlEFeo8";
    uint8_t odd[] = {0x12, 0x34, 0x56};
    uint8_t none = 0xab;

    etcp_munge(text, 8);
    tap_is_mem(text, 8, "\x83\xf6\x56\x64\x54\xc6\x47\x27", 8, "munge: the known example");
    etcp_munge(text, 8);
    tap_is_mem(text, 8, "rtlEFeo8", 8, "munge: twice is nothing");
    etcp_munge(odd, 3);
    tap_is_mem(odd, 3, "\x65\x43\x21", 3, "munge: odd length");
    etcp_munge(&none, 0);
    tap_is_int(none, 0xab, "munge: nothing");
}

static void test_munge_rules(void)
{
    static const struct {
        const char *version;
        int keys;
        int salt;
    } rules[] = {{"", 0, 0},     {"0.06", 0, 0}, {"0.07", 1, 1}, {"0.08", 1, 1}, {"0.09", 0, 0},
                 {"0.14", 0, 0}, {"0.15", 1, 0}, {"0.26", 1, 0}, {"1.00", 1, 0}};
    size_t i;

    for (i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        uint32_t number =
            etcp_version_number((const uint8_t *)rules[i].version, strlen(rules[i].version));

        tap_is_int(etcp_munge_wants_keys(number), rules[i].keys, "munge: keys of %s",
                   rules[i].version);
        tap_is_int(etcp_munge_wants_salt(number), rules[i].salt, "munge: salt of %s",
                   rules[i].version);
    }
}

static void test_version_numbers(void)
{
    static const struct {
        const char *text;
        uint32_t number;
    } known[] = {{"", 0},
                 {"abc", 0},
                 {"0.07", ETCP_VERSION(0, 7)},
                 {".26x", ETCP_VERSION(0, 26)},
                 {"1", ETCP_VERSION(1, 0)},
                 {"1.5.9", ETCP_VERSION(1, 50)},
                 {"0.2299999", ETCP_VERSION(0, 23) - 1},
                 {"12.34", ETCP_VERSION(12, 34)}};
    size_t i;

    for (i = 0; i < sizeof known / sizeof known[0]; i++)
        tap_is_int(etcp_version_number((const uint8_t *)known[i].text, strlen(known[i].text)),
                   known[i].number, "version: \"%s\"", known[i].text);
    tap_ok(etcp_version_number((const uint8_t *)"99999999999999999999", 20) > ETCP_VERSION(100, 0),
           "version: a monstrous one is large");
}

static void check_merge(const char *password, const char *key, const char *want, const char *name)
{
    etcp_buf out;

    etcp_buf_init(&out);
    tap_is_int(etcp_password_merge((const uint8_t *)password, strlen(password),
                                   (const uint8_t *)key, strlen(key), &out),
               0, "merge: %s", name);
    tap_is_mem(etcp_buf_bytes(&out), etcp_buf_len(&out), want, strlen(want), "merge: %s: key",
               name);
    etcp_buf_wipe(&out);
}

static void test_merge(void)
{
    check_merge("secret1", "#$%&'()*+,-.", "secret1*+,-.", "head replaced");
    check_merge("s.e-c r\xe9t", "#$%&'()*", "secrt()*", "letters and digits only");
    check_merge("averylongpassword", "#$%&'()*", "averylon", "longer than the key");
    check_merge("!!!", "#$%&", "#$%&", "nothing to merge");
    check_merge("", "#$%&", "#$%&", "no password");
    check_merge("abcd", "#$%&", "abcd", "just as long");
}

static void test_equal(void)
{
    const uint8_t *a = (const uint8_t *)"abcdefgh";

    tap_ok(etcp_password_equal(a, 8, (const uint8_t *)"abcdefgh", 8), "equal");
    tap_ok(!etcp_password_equal(a, 8, (const uint8_t *)"abcdefgX", 8), "last byte differs");
    tap_ok(!etcp_password_equal(a, 8, (const uint8_t *)"Xbcdefgh", 8), "first byte differs");
    tap_ok(!etcp_password_equal(a, 7, a, 8), "length differs");
    tap_ok(etcp_password_equal(a, 0, a, 0), "both empty");
}

int main(void)
{
    test_vectors();
    test_limits_of_crypt3();
    test_salts();
    test_munge();
    test_munge_rules();
    test_version_numbers();
    test_merge();
    test_equal();
    return tap_done();
}
