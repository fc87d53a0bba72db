/* What both roles of the negotiation share: taking commands apart and putting them together,
 * versions, keys as they travel, and the step from negotiating to ready. Protocol.pod,
 * "Negotiation". */
#ifndef ETCP_WIRE_NEGOTIATE_H
#define ETCP_WIRE_NEGOTIATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "codec/cipher.h"
#include "codec/compressor.h"
#include "crypt3.h"
#include "session.h"

/* ---- commands ------------------------------------------------------------------------------- */

typedef struct etcp_field {
    const uint8_t *bytes;
    size_t len;
} etcp_field;

enum { ETCP_FIELDS_MAX = 32 }; /* the longest lists name a dozen modules */

/* A command or reply taken apart at its NULs; at[0] is the tag. As originals see it, trailing empty
 * fields do not exist: fields that are missing read as empty. Views into the payload. */
typedef struct etcp_fields {
    etcp_field at[ETCP_FIELDS_MAX];
    size_t count; /* at least 1 */
} etcp_fields;

void etcp_fields_split(etcp_fields *fields, const uint8_t *payload, size_t len);

/* Whether the field is exactly this text. */
int etcp_field_is(const etcp_field *field, const char *text);

/* Whether the tag is one that originals refuse to look at: "" and "0" are false in Perl. */
int etcp_fields_have_no_tag(const etcp_fields *fields);

/* The field's module letter, or '\0' when it is anything but one character. */
char etcp_field_key(const etcp_field *field);

/* A command under construction. Errors are kept until it is sent. */
typedef struct etcp_command {
    etcp_buf text;
    int rc;
} etcp_command;

void etcp_command_begin(etcp_command *c, const char *tag);
void etcp_command_add(etcp_command *c, const uint8_t *bytes, size_t len);
void etcp_command_add_text(etcp_command *c, const char *text);
void etcp_command_add_armoured(etcp_command *c, const uint8_t *bytes, size_t len);

/* Queues the command, sealed as soon as the peer's key is known, and frees it. Negotiation packets
 * are never compressed: no peer minds, and the longest ones precede the choice of a compressor.
 * Returns 0 or a negative code, recorded as the session's error. */
int etcp_command_send(etcp_session *s, etcp_command *c);

/* As etcp_command_send, never sealed. */
int etcp_command_send_clear(etcp_session *s, etcp_command *c);

/* Frees the command without sending it. */
void etcp_command_drop(etcp_command *c);

/* ---- state that ends with the negotiation --------------------------------------------------- */

/* The server's questions, in the order it asks them. */
typedef enum etcp_step {
    ETCP_STEP_WELCOME,
    ETCP_STEP_VE,
    ETCP_STEP_EA,
    ETCP_STEP_EU,
    ETCP_STEP_EM,
    ETCP_STEP_EK,
    ETCP_STEP_CA,
    ETCP_STEP_CU,
    ETCP_STEP_CM,
    ETCP_STEP_CS,
    ETCP_STEP_EN,
    ETCP_STEP_DONE
} etcp_step;

/* What a server makes of a client's hash. */
typedef enum etcp_verdict {
    ETCP_VERDICT_NONE, /* nothing was said, or the answer is out */
    ETCP_VERDICT_WRONG,
    ETCP_VERDICT_RIGHT
} etcp_verdict;

/* Characters of the key string in an offer: 200 bits of chance, more than any cipher uses. */
enum { ETCP_OFFERED_KEY = 32 };

typedef struct etcp_inside etcp_inside;

typedef struct etcp_negotiation {
    unsigned packets; /* received so far */

    /* TLS; see capability.h and negotiate_inside.h */
    etcp_buf prologue;   /* the packets that precede TLS, for the hash of them */
    int tls_offered;     /* the server offered it */
    int asked;           /* and said that it will ask for a password */
    etcp_inside *inside; /* NULL: this is not the inside of TLS */
    int is_early;        /* client, inside: READY before the last packet came */
    int unannounced;     /* and READY was not given out yet */

    /* server */
    etcp_step step;            /* what we asked last */
    uint32_t offered_rows[2];  /* what EA and CA offered, by kind of module; bits: etcp_offer */
    uint32_t declined_rows[2]; /* what the client chose, but would not use when asked again */
    uint8_t salt[2];
    int has_salt;
    char hash[ETCP_CRYPT3_SIZE]; /* what the client has to say to this salt */
    etcp_verdict verdict;        /* on what it said, kept until etcp_session_prove */
    int offered;                 /* the welcome packet carried an offer: see capability.h */
    uint8_t offered_key[ETCP_OFFERED_KEY];

    /* client */
    etcp_buf scalar; /* of COS */
    int has_scalar;
    const etcp_cipher *proven; /* what EM has shown to work, or NULL */
    etcp_cipher_style proven_style;
} etcp_negotiation;

/* The state of a negotiation that has not begun, or NULL when memory is exhausted. */
etcp_negotiation *etcp_negotiation_new(void);

/* A deep copy, or NULL. */
etcp_negotiation *etcp_negotiation_clone(const etcp_negotiation *n);

/* Wipes and frees; NULL does nothing. */
void etcp_negotiation_free(etcp_negotiation *n);

/* ---- steps ---------------------------------------------------------------------------------- */

/* The number that text[0..len) begins with, as Perl sees it: "0.26" is ETCP_VERSION(0, 26), "abc"
 * is 0. What is less than a millionth is dropped. */
uint32_t etcp_version_number(const uint8_t *text, size_t len);

/* Notes the peer's version, the first time only: keys depend on it. */
void etcp_negotiation_note_version(etcp_session *s, const etcp_field *version);

/* Adds our public key to an EK command as the peer expects it: armoured where it is binary, munged
 * where its release does so. */
void etcp_negotiation_add_key(etcp_session *s, etcp_command *c, const uint8_t *key, size_t len);

/* Takes the key of the peer's EK command; sealing begins. Returns 0 or a negative code, recorded.
 */
int etcp_negotiation_take_key(etcp_session *s, const etcp_field *field);

/* Makes our key pair, or takes the configuration's; opening begins. Appends the public half to
 * public_key. Returns 0 or a negative code, recorded. */
int etcp_negotiation_make_keys(etcp_session *s, etcp_buf *public_key);

/* Draws the server's salt, once. Returns 0 or the random source's error, not recorded. */
int etcp_negotiation_make_salt(etcp_session *s);

/* Draws nothing: makes a drawn salt tell that TLS was offered. The password's hash covers the salt,
 * so that whoever takes the offer away cannot take this away, too. */
void etcp_negotiation_mark_salt(uint8_t salt[2]);
int etcp_negotiation_salt_is_marked(const uint8_t salt[2]);

/* Before a client uses a salt: 0, or ETCP_EPOLICY, recorded: it is marked, and TLS was not offered;
 * or the hash would go to whoever stands before the server. */
int etcp_negotiation_check_mark(etcp_session *s, const uint8_t salt[2]);

/* A server's answer to a wrong password: one attempt for each connection. PF is what tells an original
 * client why. Returns ETCP_EREJECTED, recorded, or another failure of sending. */
int etcp_negotiation_reject_password(etcp_session *s);

/* Computes into hash what CP says for this salt (not munged) and the configuration's password, an
 * undefined one counting as "". */
void etcp_negotiation_hash(const etcp_session *s, const uint8_t salt[2],
                           char hash[ETCP_CRYPT3_SIZE]);

/* Says, before EN, whether what was agreed satisfies the options: 0, or ETCP_EPOLICY, recorded. */
int etcp_negotiation_check(etcp_session *s);

/* Ends the negotiation: merges the password into the keys, frees the state. Returns 1, for
 * etcp_..._take to return, or a negative code, recorded. */
int etcp_negotiation_finish(etcp_session *s);

/* ---- roles ---------------------------------------------------------------------------------- */

/* Queues the server's first packet. Returns 0 or a negative code, recorded. */
int etcp_server_begin(etcp_session *s);

enum { ETCP_TAKEN_TLS = 2, ETCP_TAKEN_LATE = 3 };

/* Act on one negotiation packet. Return 0 (go on), 1 (the negotiation is over), ETCP_TAKEN_TLS (it
 * goes on inside TLS), ETCP_TAKEN_LATE (it is over, which was said already), or a negative code,
 * recorded as the session's error. */
int etcp_server_take(etcp_session *s, const etcp_fields *fields);

/* Answers a client whose hash was taken. Returns 0, or ETCP_EREJECTED or another code, recorded. */
int etcp_server_judge(etcp_session *s);

int etcp_client_take(etcp_session *s, const etcp_fields *fields);

#endif
