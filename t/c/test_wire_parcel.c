/* Messages for many: each form is made once, and its memory is shared. */
#include "wire/parcel.h"

#include <stdlib.h>
#include <string.h>

#include "alloc.h"
#include "tap.h"
#include "wire/session.h"
#include "wire_peer.h"

enum { COUNT = 6, LONG = 20000 };

static uint8_t text[LONG];
static uint8_t twice[2 * LONG];

typedef struct pair {
    etcp_config *configs[2];
    peer server, client;
} pair;

static void pair_init(pair *p, unsigned flags, const char *forbidden)
{
    p->configs[0] = etcp_config_new(ETCP_ROLE_SERVER);
    p->configs[1] = etcp_config_new(ETCP_ROLE_CLIENT);
    for (int i = 0; i < 2; i++) {
        if (!p->configs[i])
            abort();
        p->configs[i]->flags = flags;
        if (forbidden)
            etcp_config_forbid(p->configs[i], forbidden);
    }
    if (peer_init(&p->server, p->configs[0]) < 0 || peer_init(&p->client, p->configs[1]) < 0)
        abort();
    peer_negotiate(&p->server, &p->client, 0);
}

static void pair_deinit(pair *p)
{
    peer_deinit(&p->server);
    peer_deinit(&p->client);
    etcp_config_unref(p->configs[0]);
    etcp_config_unref(p->configs[1]);
}

/* Different ends: plain, zlib, zlib with its letter, LZF, and two that encrypt too. */
static const struct {
    unsigned flags;
    const char *forbidden;
    int is_borrowed;
} ends[COUNT] = {
    {ETCP_DONOT_ENCRYPT | ETCP_DONOT_COMPRESS, NULL, 1},
    {ETCP_DONOT_ENCRYPT, NULL, 1},
    {ETCP_DONOT_ENCRYPT | ETCP_MIX_COMPRESSORS, NULL, 1},
    {ETCP_DONOT_ENCRYPT, "Compress::Zlib", 1},
    {ETCP_DONOT_COMPRESS, NULL, 0},
    {0, NULL, 0},
};

static unsigned count_forms(const etcp_parcel *p)
{
    unsigned count = 0;

    for (int c = 0; c < ETCP_CODECS; c++)
        count += (unsigned)(p->forms[c][0].is_made + p->forms[c][1].is_made);
    return count;
}

static int deliver(pair *p, etcp_parcel *parcel, const uint8_t **body, int *is_borrowed)
{
    etcp_packet packet;
    int rc = etcp_session_encode_parcel(p->server.s, parcel, &packet);

    if (rc < 0)
        return rc;
    *body = packet.body;
    *is_borrowed = packet.is_borrowed;
    (void)peer_feed(&p->client, packet.header, packet.header_len);
    (void)peer_feed(&p->client, packet.body, packet.body_len);
    return 0;
}

static void test_forms(void)
{
    etcp_parcel *parcel = etcp_parcel_new(0, text, LONG, NULL, NULL);
    pair pairs[COUNT];

    for (int i = 0; i < COUNT; i++) {
        const uint8_t *first, *second;
        int is_borrowed = -1;
        unsigned made;

        pair_init(&pairs[i], ends[i].flags, ends[i].forbidden);
        tap_is_int(deliver(&pairs[i], parcel, &first, &is_borrowed), 0, "%d: is sent", i);
        made = count_forms(parcel);
        tap_is_int(is_borrowed, ends[i].is_borrowed, "%d: whose memory it is", i);
        tap_is_int(deliver(&pairs[i], parcel, &second, &is_borrowed), 0, "%d: and again", i);
        tap_ok(!is_borrowed || first == second, "%d: out of the same memory", i);
        tap_is_int(count_forms(parcel), made, "%d: with no new form", i);
        tap_is_mem(etcp_buf_bytes(&pairs[i].client.data), etcp_buf_len(&pairs[i].client.data), twice,
                   sizeof twice, "%d: arrives twice", i);
    }
    tap_is_int(count_forms(parcel), 3, "three forms in all");
    etcp_parcel_unref(parcel);
    for (int i = 0; i < COUNT; i++)
        pair_deinit(&pairs[i]);
}

/* What does not shrink is tried once. */
static void test_noise(void)
{
    uint8_t noise[4096];
    uint32_t random = 1;
    etcp_parcel *parcel;
    const uint8_t *body;
    int is_borrowed;
    pair p;

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)((random = random * 1103515245u + 12345u) >> 16);
    parcel = etcp_parcel_new(ETCP_MESSAGE_COMPLEX, noise, sizeof noise, NULL, NULL);
    pair_init(&p, ETCP_DONOT_ENCRYPT, NULL);
    (void)deliver(&p, parcel, &body, &is_borrowed);
    tap_ok(body == parcel->payload && is_borrowed, "noise goes as it is");
    tap_is_int(count_forms(parcel), 1, "which is noted");
    tap_is_int(p.client.flags, ETCP_MESSAGE_COMPLEX, "flags arrive");
    etcp_parcel_unref(parcel);
    pair_deinit(&p);
}

static size_t memory_of_forms(const etcp_parcel *p)
{
    size_t sum = 0;

    for (int c = 0; c < ETCP_CODECS; c++)
        sum += p->forms[c][0].bytes.cap + p->forms[c][1].bytes.cap;
    return sum;
}

/* What compresses well takes little memory, too, while it waits to be sent. */
static void test_memory(void)
{
    static const char *const others[] = {"Compress::Zlib", "Compress::LZF"};
    enum { SIZE = 1 << 20 };
    uint8_t *large = calloc(1, SIZE);
    const uint8_t *body;
    int is_borrowed;

    if (!large)
        abort();
    for (int i = 0; i < 2; i++) {
        etcp_parcel *parcel = etcp_parcel_new(0, large, SIZE, NULL, NULL);
        pair p;

        pair_init(&p, ETCP_DONOT_ENCRYPT, others[i]);
        (void)deliver(&p, parcel, &body, &is_borrowed);
        tap_ok(count_forms(parcel) == 1 && memory_of_forms(parcel) < SIZE / 4,
               "without %s a MiB of zeros takes %d bytes", others[i], (int)memory_of_forms(parcel));
        etcp_parcel_unref(parcel);
        pair_deinit(&p);
    }
    free(large);
}

static void note_release(void *owner)
{
    ++*(int *)owner;
}

static void test_life(void)
{
    int released = 0;
    etcp_parcel *parcel = etcp_parcel_new(0, text, 10, note_release, &released);

    tap_ok(parcel->payload == text, "with a release the payload stays where it is");
    etcp_parcel_unref(etcp_parcel_ref(parcel));
    tap_is_int(released, 0, "as long as there is a reference");
    etcp_parcel_unref(parcel);
    tap_is_int(released, 1, "and is released once");
    parcel = etcp_parcel_new(0, text, 0, NULL, NULL);
    tap_ok(parcel != NULL, "an empty message");
    etcp_parcel_unref(parcel);
}

static void test_exhausted_memory(void)
{
    const uint8_t *body;
    int is_borrowed;
    long n = 0;
    int rc;

    do {
        etcp_parcel *parcel;
        pair p;

        pair_init(&p, 0, NULL);
        alloc_fail_at(++n);
        parcel = etcp_parcel_new(0, text, LONG, NULL, NULL);
        rc = parcel ? deliver(&p, parcel, &body, &is_borrowed) : ETCP_ENOMEM;
        alloc_reset();
        if (rc < 0)
            tap_is_int(rc, ETCP_ENOMEM, "allocation %ld fails", n);
        if (parcel)
            etcp_parcel_unref(parcel);
        pair_deinit(&p);
    } while (rc < 0 && n < 100);
    tap_ok(n > 3, "%ld allocations were made to fail", n - 1);
    tap_is_int(alloc_live(), 0, "no block is left");
}

int main(void)
{
    for (size_t i = 0; i < LONG; i++)
        text[i] = twice[i] = twice[LONG + i] = (uint8_t) "all clients get this message, "[i % 30];
    test_forms();
    test_noise();
    test_memory();
    test_life();
    test_exhausted_memory();
    return tap_done();
}
