#include "libdeflate.h"

#include "base/error.h"

#ifndef ETCP_HAVE_LIBDEFLATE

int etcp_has_libdeflate(void)
{
    return 0;
}

int etcp_libdeflate_compress(int level, const uint8_t *bytes, size_t len, etcp_buf *out)
{
    (void)level;
    (void)bytes;
    (void)len;
    (void)out;
    return ETCP_EINVAL;
}

#else

#include <libdeflate.h>

/* Higher levels are another algorithm, which takes nine megabytes. */
enum { LEVEL_MAX = 9 };

/* A compressor takes 0.2 to 0.7 MiB and keeps nothing from one message to the next, so that one for each
 * level is enough for all connections of the process. Who compresses takes it out; who finds
 * none, in another thread, makes one. */
static struct libdeflate_compressor *idle[LEVEL_MAX + 1];

static struct libdeflate_compressor *take(int level)
{
    struct libdeflate_compressor *it = __atomic_exchange_n(&idle[level], NULL, __ATOMIC_ACQUIRE);

    return it ? it : libdeflate_alloc_compressor(level);
}

static void put_back(int level, struct libdeflate_compressor *it)
{
    struct libdeflate_compressor *other = __atomic_exchange_n(&idle[level], it, __ATOMIC_ACQ_REL);

    if (other)
        libdeflate_free_compressor(other);
}

/* From the fourth on, the one above takes no more time than zlib's, and makes less of a message. */
static int level_for(int level)
{
    return level < 4 ? level : level < LEVEL_MAX ? level + 1 : LEVEL_MAX;
}

int etcp_has_libdeflate(void)
{
    return 1;
}

int etcp_libdeflate_compress(int level, const uint8_t *bytes, size_t len, etcp_buf *out)
{
    const int theirs = level_for(level);
    struct libdeflate_compressor *it = take(theirs);
    const size_t room = it ? libdeflate_zlib_compress_bound(it, len) : 0;
    int rc = it && room > len ? etcp_buf_reserve_exact(out, room) : ETCP_ENOMEM;

    if (rc == 0) {
        const size_t made = libdeflate_zlib_compress(it, bytes, len, etcp_buf_tail(out), room);

        etcp_buf_commit(out, made);
        rc = made ? 0 : ETCP_ENOMEM; /* it has said itself how much room is enough */
    }
    if (it)
        put_back(theirs, it);
    return rc;
}

#endif
