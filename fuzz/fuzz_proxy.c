/* The header of the PROXY protocol, whole and byte by byte: both ways must come to the same. */
#include "wire/proxy_header.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    etcp_proxy_header *whole = calloc(1, sizeof *whole);
    etcp_proxy_header *parts = calloc(1, sizeof *parts);
    size_t used, step, at = 0;
    int rc, again;

    if (!whole || !parts)
        abort();
    rc = etcp_proxy_header_feed(whole, data, size, &used);
    if (used > size || used > ETCP_PROXY_MAX || (rc == ETCP_AGAIN && used != size))
        abort();
    if (rc != 1 && rc != ETCP_AGAIN && rc != ETCP_EPROXY)
        abort();
    do {
        again = etcp_proxy_header_feed(parts, data + at, at < size, &step);
        at += step;
    } while (again == ETCP_AGAIN && step);
    if (again != rc || at != used || whole->family != parts->family || whole->port != parts->port ||
        memcmp(whole->source, parts->source, sizeof whole->source) != 0)
        abort();
    free(whole);
    free(parts);
    return 0;
}
