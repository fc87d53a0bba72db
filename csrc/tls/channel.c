#include "tls_private.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/mem.h"
#include "known_hosts.h"

enum {
    RECORD = 16384,
    RECORD_OVERHEAD = 5 + 1 + 16, /* header, type, tag */
    CERTIFICATE_REQUEST = 13,     /* handshake types, RFC 8446 4 */
    KEY_UPDATE = 24,
    KEY_UPDATE_RECORD = 64, /* bytes of its record, more than enough */
    RENEWALS_SPAN = 1 << 20, /* clear text after which renewals are counted anew */
    USES_TO_KEEP = 3         /* see keep_buffers */
};

/* ---- errors ---------------------------------------------------------------------------------- */

static int fail_memory(etcp_channel *ch)
{
    return etcp_channel_fail(ch, ETCP_ENOMEM, "%s", etcp_code_text(ETCP_ENOMEM));
}

static int flooded(etcp_channel *ch)
{
    return etcp_channel_fail(ch, ETCP_EPROTO, "The peer renews its keys too often");
}

/* An SSL_ call failed for good: says why by an entry of OpenSSL's queue, unless our own verdict is why.
 * The oldest entry is the cause; later ones, which some releases add, say where it was noticed. */
static int fail_ssl(etcp_channel *ch, int code, unsigned long entry)
{
    int reason = ERR_GET_REASON(entry);
    const char *text = ERR_reason_error_string(entry);

    if (ch->code)
        return ch->code;
    if (ch->no_memory || reason == ERR_R_MALLOC_FAILURE)
        return fail_memory(ch);
    if (ch->renewals > ETCP_CHANNEL_RENEWALS_MAX)
        return flooded(ch);
    if (!text)
        text = "unknown error";
    /* The numbers of alerts begin there. */
    if (ERR_GET_LIB(entry) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET)
        return etcp_channel_fail(ch, code, "The peer ended TLS: %s", text);
    return etcp_channel_fail(ch, code, "TLS: %s", text);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Sees every handshake message that comes: OpenSSL has no limit for KeyUpdates, and 64 KiB hold
 * thousands of them. The shutdown mark makes it stop before the next record. */
static void see_message(int is_written, int version, int type, const void *bytes, size_t len,
                        SSL *ssl, void *arg)
{
    etcp_channel *ch = arg;

    (void)version;
    if (is_written || type != SSL3_RT_HANDSHAKE || len < 1)
        return;
    if (*(const uint8_t *)bytes == CERTIFICATE_REQUEST)
        ch->asked = 1;
    if (*(const uint8_t *)bytes != KEY_UPDATE)
        return;
    if (++ch->renewals > ETCP_CHANNEL_RENEWALS_MAX)
        SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

static int set_bio(etcp_channel *ch)
{
    BIO *bio = BIO_new(ch->tls->method);

    if (!bio)
        return ETCP_ENOMEM;
    BIO_set_data(bio, ch);
    SSL_set_bio(ch->ssl, bio, bio);
    return 0;
}

static int is_address(const char *host)
{
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
    int is = address != NULL;

    ASN1_OCTET_STRING_free(address);
    return is;
}

/* Whom a client wants to speak to: for the server's choice of a certificate, and for the check. */
static int set_host(etcp_channel *ch)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ch->ssl);

    if (is_address(ch->host))
        return X509_VERIFY_PARAM_set1_ip_asc(param, ch->host) ? 0 : ETCP_ENOMEM;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, ch->host, 0) &&
                   SSL_set_tlsext_host_name(ch->ssl, ch->host)
               ? 0
               : ETCP_ENOMEM;
}

static int set_role(etcp_channel *ch)
{
    static const unsigned char alpn[] = "\x09" ETCP_ALPN;

    if (ch->tls->flags & ETCP_TLS_SERVER) {
        SSL_set_accept_state(ch->ssl);
        return 0;
    }
    SSL_set_connect_state(ch->ssl);
    if (SSL_set_alpn_protos(ch->ssl, alpn, sizeof alpn - 1) != 0)
        return ETCP_ENOMEM;
    return ch->host ? set_host(ch) : 0;
}

static int copy_text(const char *text, char **copy)
{
    *copy = text ? etcp_memdup(text, strlen(text)) : NULL;
    return text && !*copy ? ETCP_ENOMEM : 0;
}

static int fill(etcp_channel *ch, const char *host, const char *endpoint)
{
    int rc = copy_text(host, &ch->host);

    if (rc == 0)
        rc = copy_text(endpoint, &ch->endpoint);
    if (rc < 0)
        return rc;
    ch->ssl = SSL_new(ch->tls->ctx);
    if (!ch->ssl || set_bio(ch) < 0)
        return ETCP_ENOMEM;
    SSL_set_app_data(ch->ssl, ch);
    SSL_set_msg_callback(ch->ssl, see_message);
    SSL_set_msg_callback_arg(ch->ssl, ch);
    return set_role(ch);
}

int etcp_channel_new(etcp_tls *tls, const char *host, const char *endpoint, etcp_channel **out)
{
    etcp_channel *ch = etcp_zalloc(sizeof *ch);
    int rc;

    if (!ch)
        return ETCP_ENOMEM;
    ch->tls = etcp_tls_ref(tls);
    rc = fill(ch, host, endpoint);
    ERR_clear_error();
    if (rc < 0) {
        etcp_channel_free(ch);
        return rc;
    }
    *out = ch;
    return 0;
}

void etcp_channel_free(etcp_channel *ch)
{
    if (!ch)
        return;
    if (ch->tls->last == ch)
        ch->tls->last = NULL;
    SSL_free(ch->ssl);
    etcp_tls_unref(ch->tls);
    etcp_free(ch->host);
    etcp_free(ch->endpoint);
    etcp_free(ch->error);
    etcp_wipe(ch, sizeof *ch);
    etcp_free(ch);
}

/* ---- the handshake --------------------------------------------------------------------------- */

/* A server that knows nothing of ALPN completes the handshake and selects nothing. */
static int finish_handshake(etcp_channel *ch)
{
    const unsigned char *name = NULL;
    unsigned len = 0;

    SSL_get0_alpn_selected(ch->ssl, &name, &len);
    ch->easytcp = len == sizeof ETCP_ALPN - 1 && memcmp(name, ETCP_ALPN, len) == 0;
    if (!ch->easytcp && !(ch->tls->flags & ETCP_TLS_DIRECT))
        return etcp_channel_fail(ch, ETCP_EPROTO, "TLS: the peer does not speak " ETCP_ALPN);
    ch->established = 1;
    return 0;
}

/* The stream ended without a word before. That is the end of the input only: whoever has shut down his
 * sending side may still want what is sealed for him. */
static int cut_off(etcp_channel *ch)
{
    int rc = etcp_channel_fail(ch, ETCP_EPROTO, "The connection was cut off");

    if (ch->established) {
        ch->end_code = (int8_t)rc;
        ch->code = 0;
    }
    return rc;
}

/* Goes on with the handshake. Returns 0 or an error. */
static int shake(etcp_channel *ch)
{
    int result = SSL_do_handshake(ch->ssl);

    if (result == 1)
        return finish_handshake(ch);
    if (SSL_get_error(ch->ssl, result) != SSL_ERROR_WANT_READ)
        return fail_ssl(ch, ETCP_EPROTO, ERR_peek_error());
    if (ch->shaken > ETCP_CHANNEL_SHAKING_MAX)
        return etcp_channel_fail(ch, ETCP_ETOOBIG, "The TLS handshake does not end");
    return ch->cut ? cut_off(ch) : 0;
}

/* ---- input ----------------------------------------------------------------------------------- */

static void lend(etcp_channel *ch, const uint8_t *in, const uint8_t *end, etcp_buf *out)
{
    ch->in = in;
    ch->in_end = end;
    ch->out = out;
}

/* Even looking at the queue of errors takes a fiftieth of a small record's time. */
static void take_back(etcp_channel *ch, int may_have_failed)
{
    ch->in = ch->in_end = NULL;
    ch->out = NULL;
    if (may_have_failed)
        ERR_clear_error();
}

/* Why SSL_read gave nothing. Returns 0 (it wants more input) or an error. */
static int after_read(etcp_channel *ch, int result)
{
    int error = SSL_get_error(ch->ssl, result);

    if (ch->renewals > ETCP_CHANNEL_RENEWALS_MAX)
        return flooded(ch);
    if (error == SSL_ERROR_WANT_READ)
        return ch->cut ? cut_off(ch) : 0;
    if (error != SSL_ERROR_ZERO_RETURN)
        return fail_ssl(ch, ETCP_EPROTO, ERR_peek_error());
    ch->end_code = ETCP_ECLOSED;
    return ETCP_ECLOSED;
}

static void count_opened(etcp_channel *ch, size_t len)
{
    ch->opened += (uint32_t)len;
    if (ch->opened >= RENEWALS_SPAN) {
        ch->opened = 0;
        ch->renewals = 0;
    }
}

/* Whether another SSL_read would only say that it wants more input. */
static int is_used_up(const etcp_channel *ch)
{
    return ch->in == ch->in_end && !SSL_has_pending(ch->ssl);
}

/* OpenSSL's buffers, 34 KiB, are kept by the channel that is used USES_TO_KEEP times in a row, until
 * another one is: allocating and freeing them for each record takes a twelfth of a small one's time. A
 * read and its answer are two uses: clients that ask by turns shall not make it change its mind each
 * time. Within a record some releases free them although they are in use (CVE-2024-4741): OpenSSL does
 * it later. Releases from 3.2 on do not heed the mode that is cleared, and go on as before. */
static void keep_buffers(etcp_channel *ch)
{
    etcp_channel *last = ch->tls->last;

    if (ch == last && !ch->keeps_buffers && ++ch->uses == USES_TO_KEEP) {
        ch->keeps_buffers = 1;
        (void)SSL_clear_mode(ch->ssl, SSL_MODE_RELEASE_BUFFERS);
    }
    if (ch == last)
        return;
    if (last && last->keeps_buffers) {
        last->keeps_buffers = 0;
        (void)SSL_set_mode(last->ssl, SSL_MODE_RELEASE_BUFFERS);
        if (last->between_records)
            (void)SSL_free_buffers(last->ssl);
    }
    ch->uses = 1;
    ch->tls->last = ch;
}

/* Fills out. An error behind clear text waits for the next call. */
static ptrdiff_t read_clear(etcp_channel *ch, uint8_t *out, size_t room)
{
    size_t done = 0;
    int rc = 0;

    while (done < room) {
        size_t part = room - done < RENEWALS_SPAN ? room - done : RENEWALS_SPAN;
        int got = SSL_read(ch->ssl, out + done, (int)part);

        ch->between_records = got > 0 && is_used_up(ch);
        if (got <= 0) {
            rc = after_read(ch, got);
            break;
        }
        count_opened(ch, (size_t)got);
        done += (size_t)got;
        if (ch->between_records)
            break;
    }
    ch->more = done == room;
    return done || rc == 0 ? (ptrdiff_t)done : rc;
}

static ptrdiff_t open_some(etcp_channel *ch, uint8_t *out, size_t room)
{
    size_t before = etcp_buf_len(ch->out);
    ptrdiff_t got;

    if (!ch->established) {
        int rc = shake(ch);

        if (rc < 0 || !ch->established)
            return rc;
        before = etcp_buf_len(ch->out); /* our own certificates are not the peer's doing */
    }
    keep_buffers(ch);
    got = read_clear(ch, out, room);
    if (etcp_buf_len(ch->out) - before > ETCP_CHANNEL_ANSWER_MAX)
        return flooded(ch);
    return got;
}

ptrdiff_t etcp_channel_open(etcp_channel *ch, const uint8_t **input, const uint8_t *end,
                            uint8_t *out, size_t room, etcp_buf *output)
{
    int was_established = ch->established;
    ptrdiff_t got;

    ch->more = 0;
    if (ch->code || ch->end_code) {
        *input = end;
        return ch->code ? ch->code : ch->end_code;
    }
    lend(ch, *input, end, output);
    if (ERR_peek_error())
        ERR_clear_error(); /* SSL_get_error would take a foreign entry for the result of our call */
    got = open_some(ch, out, room);
    *input = got < 0 ? end : ch->in;
    take_back(ch, !was_established || ch->code || ch->end_code);
    return got;
}

int etcp_channel_has_more(const etcp_channel *ch)
{
    return ch->more;
}

void etcp_channel_end_of_input(etcp_channel *ch)
{
    ch->cut = 1;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* The queue was not looked at before, and may begin with somebody else's entry. */
static int fail_write(etcp_channel *ch)
{
    return fail_ssl(ch, ETCP_ECRYPT, ERR_peek_last_error());
}

/* OpenSSL renews keys only when it is told to. */
static int renew_when_due(etcp_channel *ch)
{
    if (ch->sealed_bytes < ch->tls->renew_bytes && ch->sealed_records < ch->tls->renew_records)
        return 0;
    ch->sealed_bytes = ch->sealed_records = 0;
    return SSL_key_update(ch->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) ? 0 : fail_write(ch);
}

static int write_records(etcp_channel *ch, const uint8_t *bytes, size_t len)
{
    while (len) {
        size_t part = len < RECORD ? len : RECORD;
        int rc = renew_when_due(ch);
        int wrote;

        if (rc < 0)
            return rc;
        wrote = SSL_write(ch->ssl, bytes, (int)part);
        if (wrote <= 0)
            return fail_write(ch);
        ch->sealed_bytes += (uint64_t)wrote;
        ch->sealed_records++;
        bytes += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}

/* A record of its own for the head would cost a tag and the peer a decryption. */
static int seal_all(etcp_channel *ch, const uint8_t *head, size_t head_len, const uint8_t *body,
                    size_t len)
{
    uint8_t first[RECORD];
    size_t part = len < sizeof first - head_len ? len : sizeof first - head_len;
    int rc;

    if (head_len == 0)
        return write_records(ch, body, len);
    memcpy(first, head, head_len);
    if (part)
        memcpy(first + head_len, body, part);
    rc = write_records(ch, first, head_len + part);
    return rc < 0 || part == len ? rc : write_records(ch, body + part, len - part);
}

int etcp_channel_seal(etcp_channel *ch, const uint8_t *head, size_t head_len, const uint8_t *body,
                      size_t len, etcp_buf *output)
{
    size_t total = head_len + len;
    int rc;

    if (ch->code)
        return ch->code;
    if (!ch->established || ch->closed || head_len > RECORD / 2)
        return ETCP_EINVAL;
    rc = etcp_buf_reserve(output,
                          total + (total / RECORD + 2) * RECORD_OVERHEAD + KEY_UPDATE_RECORD);
    if (rc < 0)
        return rc;
    keep_buffers(ch);
    lend(ch, NULL, NULL, output);
    rc = seal_all(ch, head, head_len, body, len);
    take_back(ch, rc < 0);
    return rc;
}

int etcp_channel_has_failed(const etcp_channel *ch)
{
    return ch->code != 0;
}

int etcp_channel_close(etcp_channel *ch, etcp_buf *output)
{
    if (ch->code || ch->closed || !SSL_is_init_finished(ch->ssl))
        return 0;
    ch->closed = 1;
    lend(ch, NULL, NULL, output);
    (void)SSL_shutdown(ch->ssl);
    take_back(ch, 1);
    return ch->no_memory ? ETCP_ENOMEM : 0;
}

/* ---- facts ----------------------------------------------------------------------------------- */

int etcp_channel_is_established(const etcp_channel *ch)
{
    return ch->established;
}

int etcp_channel_is_easytcp(const etcp_channel *ch)
{
    return ch->easytcp;
}

int etcp_channel_was_asked(const etcp_channel *ch)
{
    return ch->asked;
}

/* A server's exporter works right after ClientHello already, over an unfinished handshake: hence
 * established. */
int etcp_channel_binding(const etcp_channel *ch, uint8_t binding[ETCP_BINDING])
{
    static const char label[] = "EXPORTER-Channel-Binding";
    int ok;

    if (!ch->established || !SSL_is_init_finished(ch->ssl))
        return ETCP_EINVAL;
    ok = SSL_export_keying_material(ch->ssl, binding, ETCP_BINDING, label, sizeof label - 1,
                                    (const unsigned char *)"", 0, 1) == 1;
    ERR_clear_error();
    return ok ? 0 : ETCP_EINVAL;
}

const char *etcp_channel_endpoint(const etcp_channel *ch)
{
    return ch->endpoint;
}

etcp_trust etcp_channel_trust(const etcp_channel *ch)
{
    return (etcp_trust)ch->trust;
}

void etcp_channel_peer_fingerprint(const etcp_channel *ch, char text[ETCP_FINGERPRINT_TEXT])
{
    if (ch->has_peer)
        etcp_fingerprint_format(ch->peer, text);
    else
        text[0] = '\0';
}

const etcp_error *etcp_channel_error(const etcp_channel *ch)
{
    static const etcp_error none;
    static const etcp_error lost = {ETCP_ENOMEM, 0, "out of memory"};

    if (ch->error)
        return ch->error;
    return ch->code ? &lost : &none;
}

int etcp_channel_learn(etcp_channel *ch)
{
    const char *path = ch->tls->known_hosts;
    char text[ETCP_FINGERPRINT_TEXT];
    int rc;

    if (ch->trust != ETCP_TRUST_FIRST_USE)
        return 0;
    rc = etcp_known_hosts_add(path, ch->endpoint, ch->peer);
    if (rc == 0)
        return 0;
    etcp_fingerprint_format(ch->peer, text);
    if (rc == ETCP_EPOLICY)
        return etcp_channel_fail(ch, rc, "The server's key changed since %s noted it: %s", path,
                                 text);
    return etcp_channel_fail(ch, rc, "%s cannot be written", path);
}
