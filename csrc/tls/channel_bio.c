/* One BIO for both directions. The end of the stream never passes through it: OpenSSL would take it
 * for an error of its own, another one in each release, and refuse to say close_notify after it. */
#include "tls_private.h"

#include <limits.h>
#include <string.h>

static int read_input(BIO *bio, char *bytes, int room)
{
    etcp_channel *ch = BIO_get_data(bio);
    size_t len = (size_t)(ch->in_end - ch->in);

    BIO_clear_retry_flags(bio);
    if (len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (len > (size_t)room)
        len = (size_t)room;
    memcpy(bytes, ch->in, len);
    ch->in += len;
    if (!ch->established)
        ch->shaken += (uint32_t)len;
    return (int)len;
}

static int write_output(BIO *bio, const char *bytes, int len)
{
    etcp_channel *ch = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (len < 0 || !ch->out || etcp_buf_append(ch->out, bytes, (size_t)len) < 0) {
        ch->no_memory = 1;
        return -1;
    }
    return len;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static int create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *etcp_channel_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "Net::EasyTCP");

    if (method && BIO_meth_set_read(method, read_input) &&
        BIO_meth_set_write(method, write_output) && BIO_meth_set_ctrl(method, control) &&
        BIO_meth_set_create(method, create))
        return method;
    BIO_meth_free(method);
    return NULL;
}
