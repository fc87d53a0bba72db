#include "munge.h"

#include "wire/config.h"

static uint8_t swap_nibbles(uint8_t byte)
{
    return (uint8_t)(byte << 4 | byte >> 4);
}

void etcp_munge(uint8_t *bytes, size_t len)
{
    size_t i;

    for (i = 0; i < len / 2; i++) {
        uint8_t first = bytes[i];

        bytes[i] = swap_nibbles(bytes[len - 1 - i]);
        bytes[len - 1 - i] = swap_nibbles(first);
    }
    if (len % 2)
        bytes[i] = swap_nibbles(bytes[i]);
}

int etcp_munge_wants_salt(uint32_t peer_version)
{
    return peer_version == ETCP_VERSION(0, 7) || peer_version == ETCP_VERSION(0, 8);
}

int etcp_munge_wants_keys(uint32_t peer_version)
{
    return etcp_munge_wants_salt(peer_version) || peer_version >= ETCP_VERSION(0, 15);
}
