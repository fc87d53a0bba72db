#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "tap.h"

/* Counts upwards from *arg, so that every byte value comes round. */
static int counting(void *arg, uint8_t *out, size_t len)
{
    uint8_t *next = arg;

    for (size_t i = 0; i < len; i++)
        out[i] = (*next)++;
    return 0;
}

/* An even stream that is the same in every run: xorshift32 on *arg. */
static int shuffled(void *arg, uint8_t *out, size_t len)
{
    uint32_t *x = arg;

    for (size_t i = 0; i < len; i++) {
        *x ^= *x << 13;
        *x ^= *x >> 17;
        *x ^= *x << 5;
        out[i] = (uint8_t)(*x >> 11);
    }
    return 0;
}

static int failing(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    (void)out;
    (void)len;
    return ETCP_ECRYPT;
}

static void test_bytes(void)
{
    uint8_t a[64] = {0}, b[64] = {0};

    tap_is_int(etcp_random_bytes(NULL, a, sizeof a), 0, "the system gives random bytes");
    tap_is_int(etcp_random_bytes(NULL, b, sizeof b), 0, "again");
    tap_ok(memcmp(a, b, sizeof a) != 0, "others each time"); /* fails once in 2^512 runs */
    tap_is_int(etcp_random_bytes(NULL, a, 0), 0, "none are none");
    tap_is_int(etcp_random_bytes(NULL, a, (size_t)1 << 31), ETCP_EINVAL, "2 GB are refused");
}

/* Taking random bytes modulo 94 would make two characters of three half as likely again. */
static void test_distribution(void)
{
    enum { ROUNDS = 500, EACH = ROUNDS * 188 / 94 };
    int seen[256] = {0};
    uint32_t state = 1;
    uint8_t key[189];
    int outside = 0, uneven = 0;

    for (int round = 0; round < ROUNDS; round++) {
        etcp_random_key(shuffled, &state, key, sizeof key);
        for (size_t i = 1; i < sizeof key; i++)
            seen[key[i]]++;
    }
    for (int c = 0; c < 256; c++) {
        outside += (c < 33 || c > 126) && seen[c];
        uneven += c >= 33 && c <= 126 && (seen[c] < EACH * 85 / 100 || seen[c] > EACH * 115 / 100);
    }
    tap_is_int(outside, 0, "keys hold characters 33 to 126");
    tap_is_int(uneven, 0, "each about equally often");
}

static void test_first_character(void)
{
    int wrong = 0, dashes = 0;

    for (unsigned start = 0; start < 256; start++) {
        uint8_t next = (uint8_t)start;
        uint8_t key[56];

        wrong += etcp_random_key(counting, &next, key, sizeof key) != 0;
        wrong += key[0] == '-' || key[0] == '%';
        dashes += memchr(key + 1, '-', sizeof key - 1) != NULL;
    }
    tap_is_int(wrong, 0, "no key begins with - or %%");
    tap_ok(dashes > 0, "although - occurs further on");
}

static void test_letters(void)
{
    uint8_t next = 0;
    uint8_t salt[520];
    int seen[256] = {0};
    int outside = 0, missing = 0;

    tap_is_int(etcp_random_letters(counting, &next, salt, sizeof salt), 0, "letters are drawn");
    for (size_t i = 0; i < sizeof salt; i++)
        seen[salt[i]]++;
    for (int c = 0; c < 256; c++) {
        outside += (c < 'a' || c > 'z') && seen[c];
        missing += c >= 'a' && c <= 'z' && !seen[c];
    }
    tap_is_int(outside, 0, "all lower case");
    tap_is_int(missing, 0, "each of them");
}

static void test_failure(void)
{
    uint8_t key[9];

    memset(key, 'u', sizeof key);
    tap_is_int(etcp_random_key(failing, NULL, key, 8), ETCP_ECRYPT, "no key without random bytes");
    tap_is_int(etcp_random_letters(failing, NULL, key, 8), ETCP_ECRYPT, "nor letters");
    tap_is_int(etcp_random_key(failing, NULL, key, 0), 0, "an empty key needs none");
    uint8_t next = 0;
    etcp_random_key(counting, &next, key, 8);
    tap_is_int(key[8], 'u', "nothing is written behind the end");
}

/* Whether the next eight bytes of a pool are others here than in a forked child. They are the same by
 * chance once in 2^64 runs. */
static int child_has_others(etcp_random_pool *pool)
{
    uint8_t here[8], there[8] = {0};
    int ends[2];
    pid_t child;

    if (pipe(ends) < 0 || (child = fork()) < 0)
        return 0;
    if (child == 0) {
        (void)etcp_random_pooled(pool, there, sizeof there);
        _exit(write(ends[1], there, sizeof there) != sizeof there);
    }
    (void)etcp_random_pooled(pool, here, sizeof here);
    (void)!read(ends[0], there, sizeof there);
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)waitpid(child, NULL, 0);
    return memcmp(here, there, sizeof here) != 0;
}

/* More than a pool holds, in sizes that do not divide it: nothing may come twice. By chance, some of the
 * 20,910 pairs are the same once in 2^65 runs. */
static void test_pool(void)
{
    enum { DRAWS = 205, EACH = 10 };
    static uint8_t drawn[DRAWS][EACH];
    etcp_random_pool pool = {0};
    uint8_t key[64] = {0}, none[64] = {0};
    int failed = 0, same = 0;
    size_t left;

    for (int i = 0; i < DRAWS; i++)
        failed += etcp_random_pooled(&pool, drawn[i], EACH) != 0;
    for (int i = 0; i < DRAWS; i++)
        for (int j = 0; j < i; j++)
            same += memcmp(drawn[i], drawn[j], EACH) == 0;
    tap_is_int(failed, 0, "pooled bytes are drawn");
    tap_is_int(same, 0, "each only once");
    left = pool.left;
    tap_ok(left > 8 && left < sizeof pool.bytes, "some are left");
    tap_ok(memcmp(pool.bytes + left, none, EACH) == 0, "those given are wiped");
    tap_is_int(etcp_random_pooled(&pool, key, sizeof key), 0, "a key");
    tap_ok(memcmp(key, none, sizeof key) != 0 && pool.left == left, "does not come from the pool");
    tap_ok(child_has_others(&pool), "a child draws its own");
}

int main(void)
{
    test_bytes();
    test_pool();
    test_distribution();
    test_first_character();
    test_letters();
    test_failure();
    return tap_done();
}
