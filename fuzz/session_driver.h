/* Feeds a byte stream to a session, as a connection would, and uses whatever comes out. */
#ifndef ETCP_FUZZ_SESSION_DRIVER_H
#define ETCP_FUZZ_SESSION_DRIVER_H

#include "wire/config.h"
#include "wire/session.h"

/* choice: bit 0 a password is set; bit 1 encryption is demanded; bits 2..4 the size of the pieces, bit 2
 * also that large messages arrive in memory of the user's; bit 5 keys are all alike, so that recorded
 * connections are good and the fuzzer can learn to encrypt; bit 6 messages are limited to 4 KiB; bit 7 a
 * client may use Crypt::RSA (slow), and a server offers TLS, which clients always take. */
etcp_config *session_driver_config(etcp_role role, unsigned choice);
/* TLS begins: replaces the session by one for the inside, as if nothing encrypted it and the hash of what
 * was said before were all zero. */
void session_driver_switch(etcp_session **s, etcp_config *config);

void drive_session(etcp_role role, unsigned choice, const uint8_t *stream, size_t len);

#endif
