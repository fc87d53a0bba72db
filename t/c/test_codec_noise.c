/* What is taken for noise, and what is not. */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "codec/compressor.h"
#include "codec/noise.h"
#include "recorded.h"
#include "tap.h"

/* ---- cases ---------------------------------------------------------------------------------- */

typedef struct noise_case {
    const char *what;
    const char *spec; /* recorded.h */
    int is_noise;
} noise_case;

static const noise_case cases[] = {
    {"a megabyte of noise", "pa:1048576", 1},
    {"20000 bytes of noise", "pb:20000", 1},
    {"2048 bytes of noise", "pc:2048", 1},
    {"1024 bytes of noise", "pd:1024", 1},
    {"too short to tell", "pe:1023", 0},
    {"nothing", "h", 0},
    {"text", "t1024", 0},
    {"long text", "t1000000", 0},
    {"one character", "z5000", 0},
    {"four bits in each byte", "nf:100000", 0},
    {"noise of 300 bytes, repeated", "rg:300:9000", 0},
    {"noise of 5000 bytes, repeated", "rh:5000:100000", 0},
    {"noise of 5000 bytes, twice", "ri:5000:10000", 0},
    {"noise with text behind it", "pj:100000+t100000", 0},
    {"text with noise behind it", "t100000+pk:100000", 0},
    {"text between noise", "pl:40000+t40000+pm:40000", 0},
    {"noise with a fifth of text in the middle", "pn:400000+t200000+po:400000", 0},
    {"noise with text in its last 4096 bytes", "pq:200000+t4096", 0},
    {"much noise with a few bytes of text", "pr:200000+t40", 1},
};

/* From a heap block of exactly that size, so that a sanitizer sees one byte too far. */
static int is_noise(const uint8_t *bytes, size_t len)
{
    uint8_t *exact = malloc(len ? len : 1);
    int yes;

    recorded_need(exact != NULL, "out of memory");
    if (len)
        memcpy(exact, bytes, len);
    yes = etcp_is_noise(exact, len);
    free(exact);
    return yes;
}

static void test_cases(void)
{
    etcp_buf message;

    etcp_buf_init(&message);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        recorded_make(&message, cases[i].spec);
        tap_is_int(is_noise(etcp_buf_bytes(&message), etcp_buf_len(&message)), cases[i].is_noise,
                   "%s", cases[i].what);
    }
    etcp_buf_deinit(&message);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

/* Around every size at which another number of places is looked at. Noise is what it is at any
 * length, and cutting text at any length leaves text. */
static void test_lengths(void)
{
    static const size_t near[] = {1024, 2048, 4096, 6144, 16384, 32768, 49152, 131072, 147456};
    int wrong = 0;
    etcp_buf noise, text;

    etcp_buf_init(&noise);
    etcp_buf_init(&text);
    recorded_make(&noise, "plengths:150000");
    recorded_make(&text, "t150000");
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        for (size_t len = near[i] - 2; len <= near[i] + 2; len++) {
            wrong += is_noise(etcp_buf_bytes(&noise), len) != (len >= 1024);
            wrong += is_noise(etcp_buf_bytes(&text), len) != 0;
        }
    }
    tap_is_int(wrong, 0, "noise and text are told apart at all lengths");
    etcp_buf_deinit(&noise);
    etcp_buf_deinit(&text);
}

/* ---- what it is for ------------------------------------------------------------------------- */

/* What zlib would save of that which is taken for noise: hardly anything. The bytes get less even
 * from one message to the next: the share of zeros among them grows. */
static void test_loss(void)
{
    const etcp_compressor *zlib = etcp_compressor_by_key('1');
    etcp_compressor_state *state = NULL;
    size_t most = 0, tried = 0;
    etcp_buf message, packed;

    etcp_buf_init(&message);
    etcp_buf_init(&packed);
    for (unsigned zeros = 0; zeros < 64; zeros++) {
        recorded_make(&message, "pspoilt:60000");
        for (size_t i = 0; i + 1 < etcp_buf_len(&message); i += 2)
            if (message.data[message.start + i] < zeros)
                message.data[message.start + i + 1] = 0;
        etcp_buf_clear(&packed);
        recorded_need(zlib->compress(&state, ETCP_LEVEL_OF_ORIGINALS, etcp_buf_bytes(&message),
                                     60000, &packed) == 0,
                      "cannot compress");
        if (is_noise(etcp_buf_bytes(&message), 60000)) {
            tried++;
            if (etcp_buf_len(&packed) < 60000 && 60000 - etcp_buf_len(&packed) > most)
                most = 60000 - etcp_buf_len(&packed);
        }
    }
    tap_ok(tried > 1 && tried < 32, "of 64 messages ever less even, %d are taken for noise",
           (int)tried);
    tap_ok(most < 1200, "of none of them zlib would have saved more than %d of 60000 bytes",
           (int)most);
    zlib->free_state(state);
    etcp_buf_deinit(&message);
    etcp_buf_deinit(&packed);
}

int main(void)
{
    test_cases();
    test_lengths();
    test_loss();
    return tap_done();
}
