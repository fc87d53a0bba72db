/* A hostile peer of a TLS channel: the input is what it sends, to a client's or a server's end, and what the
 * true other end would say is mixed in, so that the handshake gets somewhere. Each piece begins with a byte:
 *
 *     bit 0       0: the next bytes of the input, 1: what the true peer has to say
 *     bits 1..7   how many bytes of it; 0: all
 *
 * The first byte of the input chooses the role. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tls/channel.h"
#include "tls/context.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static etcp_tls *contexts[2]; /* of a client, of a server: making a key is slow */

static void make_contexts(void)
{
    etcp_tls_options o;
    etcp_error error;
    int i;

    for (i = 0; i < 2; i++) {
        memset(&o, 0, sizeof o);
        memset(&error, 0, sizeof error);
        o.flags = i ? ETCP_TLS_SERVER : 0;
        if (etcp_tls_new(&o, &contexts[i], &error) < 0)
            abort();
    }
}

/* Hands over an exact block; clear text and cipher text that come out are used. */
static int feed(etcp_channel *ch, const uint8_t *bytes, size_t len, etcp_buf *output)
{
    uint8_t *block = malloc(len ? len : 1);
    uint8_t clear[700];
    const uint8_t *at = block;
    ptrdiff_t got;

    if (!block)
        abort();
    if (len)
        memcpy(block, bytes, len);
    do {
        got = etcp_channel_open(ch, &at, block + len, clear, sizeof clear, output);
    } while (got > 0 || (got == 0 && at < block + len));
    free(block);
    if (got < 0 && got != ETCP_ECLOSED && !etcp_channel_error(ch)->code)
        abort(); /* an error without a text */
    return got >= 0;
}

/* One piece. Returns how many bytes of the input were used; 0: it is over. */
static size_t step(etcp_channel *ch, etcp_channel *true_peer, etcp_buf *said, etcp_buf *answer,
                   const uint8_t *at, size_t left)
{
    const size_t wanted = at[0] >> 1;
    size_t len = at[0] & 1 ? etcp_buf_len(said) : left - 1;
    int goes_on;

    if (wanted && wanted < len)
        len = wanted;
    goes_on = feed(ch, at[0] & 1 ? etcp_buf_bytes(said) : at + 1, len, answer);
    if (at[0] & 1)
        etcp_buf_consume(said, len);
    (void)feed(true_peer, etcp_buf_bytes(answer), etcp_buf_len(answer), said);
    etcp_buf_clear(answer);
    if (!goes_on)
        return 0;
    return at[0] & 1 ? 1 : 1 + len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    etcp_channel *ends[2];
    etcp_buf said;
    etcp_buf answer;
    size_t done = 1;
    size_t used = 1;
    int i;

    if (!contexts[0])
        make_contexts();
    if (size == 0)
        return 0;
    for (i = 0; i < 2; i++)
        if (etcp_channel_new(contexts[i], i ? NULL : "localhost", i ? NULL : "localhost:1", &ends[i]) < 0)
            abort();
    etcp_buf_init(&said);
    etcp_buf_init(&answer);
    i = data[0] & 1;
    (void)feed(ends[i], NULL, 0, &answer);
    (void)feed(ends[!i], etcp_buf_bytes(&answer), etcp_buf_len(&answer), &said);
    etcp_buf_clear(&answer);
    (void)feed(ends[!i], NULL, 0, &said);
    for (; done < size && used; done += used)
        used = step(ends[i], ends[!i], &said, &answer, data + done, size - done);
    if (etcp_channel_is_established(ends[i]))
        (void)etcp_channel_seal(ends[i], NULL, 0, data, size, &answer);
    etcp_channel_end_of_input(ends[i]);
    (void)feed(ends[i], NULL, 0, &answer);
    (void)etcp_channel_close(ends[i], &answer);
    etcp_channel_free(ends[0]);
    etcp_channel_free(ends[1]);
    etcp_buf_deinit(&said);
    etcp_buf_deinit(&answer);
    return 0;
}
