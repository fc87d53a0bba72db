/* The scrambling of keys, salts and hashes that some releases apply. It hides nothing. */
#ifndef ETCP_WIRE_MUNGE_H
#define ETCP_WIRE_MUNGE_H

#include <stddef.h>
#include <stdint.h>

/* Reverses bytes[0..len) and swaps the nibbles of each, in place. Doing it twice undoes it.
 * Protocol.pod, "Field encodings". */
void etcp_munge(uint8_t *bytes, size_t len);

/* Whether keys and hashes are munged in a conversation with a peer of this version (0: unknown).
 * 0.09 to 0.14 had it switched off. */
int etcp_munge_wants_keys(uint32_t peer_version);

/* Whether the salt is munged: only 0.07 and 0.08 did that. */
int etcp_munge_wants_salt(uint32_t peer_version);

#endif
