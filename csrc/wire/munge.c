#include "munge.h"

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

/* Originals compare versions as numbers with == and >=; versions are parsed so that "0.07" gives
 * the same double as the constant 0.07. The ranges below spare us comparing doubles for equality.
 */
int etcp_munge_wants_salt(double peer_version)
{
    return (peer_version >= 0.07 && peer_version <= 0.07) ||
           (peer_version >= 0.08 && peer_version <= 0.08);
}

int etcp_munge_wants_keys(double peer_version)
{
    return etcp_munge_wants_salt(peer_version) || peer_version >= 0.15;
}
