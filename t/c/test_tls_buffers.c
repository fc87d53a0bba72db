/* Who keeps OpenSSL's buffers: counted by its own allocations. */
#include "tls_pair.h"

#include <openssl/crypto.h>

#include "policy.h"
#include "tap.h"
#include "tls_make.h"

enum { BUFFER = 16384, HEAD = 16 };

static int live, made; /* of the size of a buffer or larger */

/* Each block has its size in front. */
static void *mark_block(void *block, size_t size)
{
    if (!block)
        return NULL;
    memcpy(block, &size, sizeof size);
    if (size >= BUFFER) {
        live++;
        made++;
    }
    return (char *)block + HEAD;
}

static void *unmark_block(void *bytes)
{
    char *block = (char *)bytes - HEAD;
    size_t size;

    memcpy(&size, block, sizeof size);
    live -= size >= BUFFER;
    return block;
}

static void *counted_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return mark_block(malloc(HEAD + size), size);
}

static void *counted_realloc(void *bytes, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return mark_block(realloc(bytes ? unmark_block(bytes) : NULL, HEAD + size), size);
}

static void counted_free(void *bytes, const char *file, int line)
{
    (void)file;
    (void)line;
    if (bytes)
        free(unmark_block(bytes));
}

/* From 3.2 on each direction has a record layer of its own, which is not told that a mode was cleared:
 * there buffers come and go with each record. */
static void count_is(int got, int want, const char *name)
{
    if (OpenSSL_version_num() < 0x30200000UL)
        tap_is_int(got, want, "%s", name);
}

/* A server's channel, and the client it speaks with. */
typedef struct pair {
    tls_end client, server;
} pair;

static etcp_tls *server_tls;
static uint8_t message[64];

/* Clients have contexts of their own, as those of a program do: only the server's is shared. */
static void pair_init(pair *p, etcp_tls *server)
{
    etcp_tls *tls = tls_make(0, NULL);

    (void)tls_end_init(&p->client, tls, "localhost", "localhost:1");
    etcp_tls_unref(tls);
    (void)tls_end_init(&p->server, server, NULL, NULL);
    tls_shake(&p->client, &p->server, 0);
}

static void pair_deinit(pair *p)
{
    tls_end_deinit(&p->client);
    tls_end_deinit(&p->server);
}

/* Opens bytes as a connection does: not again when they are used up. Returns what came out. */
static int opens(tls_end *e, const uint8_t *bytes, size_t len)
{
    uint8_t clear[200];

    return (int)etcp_channel_open(e->ch, &bytes, bytes + len, clear, sizeof clear, &e->out);
}

/* Whether a message arrives whole. */
static int passes(tls_end *from, tls_end *to)
{
    int got = etcp_channel_seal(from->ch, NULL, 0, message, sizeof message, &from->out);

    if (got == 0)
        got = opens(to, etcp_buf_bytes(&from->out), etcp_buf_len(&from->out));
    etcp_buf_clear(&from->out);
    return got == (int)sizeof message;
}

/* The server answers. */
static int echoes(pair *p)
{
    return passes(&p->client, &p->server) && passes(&p->server, &p->client);
}

static void test_alone(void)
{
    int before = live;
    pair p;

    pair_init(&p, server_tls);
    (void)echoes(&p);
    (void)echoes(&p);
    (void)echoes(&p);
    made = 0;
    tap_ok(echoes(&p), "messages pass");
    count_is(made, 0, "who is spoken with all the time needs no new buffers");
    pair_deinit(&p);
    tap_is_int(live, before, "they go with the channel");
}

/* Who only sends is not read from at all. */
static void test_sender(void)
{
    pair p;
    int i, passed = 0;

    pair_init(&p, server_tls);
    for (i = 0; i < 3; i++)
        passed += passes(&p.client, &p.server);
    made = 0;
    tap_is_int(passed + passes(&p.client, &p.server), 4, "messages of a sender pass");
    count_is(made, 0, "who sends all the time needs no new buffers");
    pair_deinit(&p);
}

/* Keeping the buffers of whoever has just asked would be in vain. */
static void test_by_turns(void)
{
    pair a, b;
    int before, rounds, passed = 0;

    pair_init(&a, server_tls);
    pair_init(&b, server_tls);
    before = live;
    for (rounds = 0; rounds < 3; rounds++)
        passed += echoes(&a) + echoes(&b);
    tap_is_int(passed, 6, "clients are answered by turns");
    count_is(live - before, 4, "each client has its buffers, the server none");
    pair_deinit(&a);
    pair_deinit(&b);
}

static void test_many(void)
{
    enum { CLIENTS = 5 };
    pair p[CLIENTS];
    int before, i, rounds, passed = 0;

    for (i = 0; i < CLIENTS; i++)
        pair_init(&p[i], server_tls);
    before = live;
    for (i = 0; i < CLIENTS; i++)
        for (rounds = 0; rounds < 3; rounds++)
            passed += echoes(&p[i]);
    tap_is_int(passed, 3 * CLIENTS, "messages of many clients pass");
    count_is(live - before, 2 * CLIENTS + 2, "each client has its buffers, the server one pair");
    for (i = 0; i < CLIENTS; i++)
        pair_deinit(&p[i]);
}

/* The copy of a context, for another thread, knows nothing of this one's channels. */
static void test_clone(void)
{
    etcp_tls *copy;
    pair a, b;
    int before;

    pair_init(&a, server_tls);
    (void)(echoes(&a) && echoes(&a));
    copy = etcp_tls_clone(server_tls);
    pair_init(&b, copy);
    before = live;
    tap_ok(echoes(&b) && echoes(&b) && echoes(&b), "a copied context works");
    count_is(live - before, 4, "two more ends have their buffers, the others keep theirs");
    pair_deinit(&a);
    pair_deinit(&b);
    etcp_tls_unref(copy);
}

/* Only the first bytes of a record are here when another client speaks. */
static void test_within_record(size_t bytes)
{
    pair a, b;
    size_t len;

    pair_init(&a, server_tls);
    pair_init(&b, server_tls);
    (void)echoes(&a);
    (void)echoes(&a);
    (void)etcp_channel_seal(a.client.ch, NULL, 0, message, sizeof message, &a.client.out);
    len = etcp_buf_len(&a.client.out);
    tap_is_int(opens(&a.server, etcp_buf_bytes(&a.client.out), bytes), 0, "nothing yet");
    tap_ok(echoes(&b) && echoes(&b), "%d bytes of a record wait, another speaks", (int)bytes);
    tap_is_int(opens(&a.server, etcp_buf_bytes(&a.client.out) + bytes, len - bytes),
               (int)sizeof message, "the record is complete");
    etcp_buf_clear(&a.client.out);
    tap_ok(echoes(&a) && echoes(&b), "both go on");
    pair_deinit(&a);
    tap_ok(echoes(&b), "one goes on without the other");
    pair_deinit(&b);
}

int main(void)
{
    int counts = CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free);

    if (!policy_leaves_sha256())
        return tap_done();
    server_tls = tls_make(ETCP_TLS_SERVER, NULL);
    if (!tap_ok(counts && server_tls, "a context, and a count"))
        return tap_done();
    test_alone();
    test_sender();
    test_by_turns();
    test_many();
    test_clone();
    test_within_record(1);
    test_within_record(5);
    test_within_record(20);
    etcp_tls_unref(server_tls);
    return tap_done();
}
