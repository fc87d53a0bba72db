#include "random.h"

#include <string.h>
#include <unistd.h>

#include "error.h"
#include "mem.h"
#include "provider.h"

enum { POOLED_MAX = 16 /* no salt or vector is longer */ };

int etcp_random_bytes(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    return etcp_provider_random(out, len);
}

static int refill(etcp_random_pool *pool, long process)
{
    int rc = etcp_random_bytes(NULL, pool->bytes, sizeof pool->bytes);

    pool->process = process;
    pool->left = rc == 0 ? sizeof pool->bytes : 0;
    return rc;
}

int etcp_random_pooled(void *arg, uint8_t *out, size_t len)
{
    etcp_random_pool *pool = arg;
    long process;
    int rc;

    if (len > POOLED_MAX)
        return etcp_random_bytes(NULL, out, len);
    process = (long)getpid();
    if ((pool->left < len || pool->process != process) && (rc = refill(pool, process)) < 0)
        return rc;
    pool->left -= len;
    memcpy(out, pool->bytes + pool->left, len);
    memset(pool->bytes + pool->left, 0, len);
    return 0;
}

/* Draws from low..high by rejection, so that every character is equally likely. */
static int draw(etcp_random_fn source, void *arg, uint8_t *out, size_t len, unsigned low,
                unsigned high)
{
    unsigned span = high - low + 1;
    unsigned usable = 256 - 256 % span;
    uint8_t pool[64];
    size_t have = 0;
    size_t done = 0;

    while (done < len) {
        if (have == 0) {
            int rc = source(arg, pool, sizeof pool);
            if (rc < 0) {
                etcp_wipe(pool, sizeof pool);
                return rc;
            }
            have = sizeof pool;
        }
        if (pool[--have] < usable)
            out[done++] = (uint8_t)(low + pool[have] % span);
    }
    etcp_wipe(pool, sizeof pool);
    return 0;
}

int etcp_random_key(etcp_random_fn source, void *arg, uint8_t *key, size_t len)
{
    int rc;

    do {
        rc = draw(source, arg, key, len, 33, 126);
    } while (rc == 0 && len > 0 && (key[0] == '-' || key[0] == '%'));
    return rc;
}

int etcp_random_letters(etcp_random_fn source, void *arg, uint8_t *salt, size_t len)
{
    return draw(source, arg, salt, len, 'a', 'z');
}
