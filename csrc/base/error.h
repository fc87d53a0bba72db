/* Results and errors of the core. */
#ifndef ETCP_BASE_ERROR_H
#define ETCP_BASE_ERROR_H

#include <stddef.h>

/* Functions of the core return 0 or a count on success and one of these on failure. The bands:
 * -1..-9 not finished, -10.. protocol, -20.. limits, -30.. cryptography, -40.. system, -50.. memory. */
typedef enum etcp_code {
    ETCP_OK = 0,
    ETCP_AGAIN = -1,       /* more bytes are needed before there is a result */
    ETCP_EINTR = -2,       /* a signal arrived: let its handler run, then call again */
    ETCP_EPROTO = -10,     /* the peer broke the protocol */
    ETCP_EREJECTED = -11,  /* the peer turned us down: password, compatibility, version */
    ETCP_EDECODE = -12,    /* a payload could not be decompressed or parsed */
    ETCP_EPOLICY = -13,    /* what was negotiated is less than an option demands */
    ETCP_EPROXY = -14,     /* the header of a proxy is malformed */
    ETCP_ETOOBIG = -20,    /* a size passes a limit */
    ETCP_EFULL = -21,      /* more output is queued than allowed */
    ETCP_ECRYPT = -30,     /* encryption or decryption failed */
    ETCP_ESYSTEM = -40,    /* a system call failed: see sys_errno */
    ETCP_ETIMEOUT = -41,   /* a deadline passed */
    ETCP_ECLOSED = -42,    /* the peer, or we, closed the connection */
    ETCP_EINVAL = -43,     /* an argument makes no sense */
    ETCP_ENOMEM = -50      /* out of memory */
} etcp_code;

enum { ETCP_ERROR_TEXT_MAX = 240 };

/* The first error of an object. An all-zero structure means none. */
typedef struct etcp_error {
    int code;                       /* an etcp_code */
    int sys_errno;                  /* errno of the failed system call, or 0 */
    char text[ETCP_ERROR_TEXT_MAX]; /* says what failed, NUL-terminated */
} etcp_error;

/* A static text for a code; "unknown error" for any other number. Never NULL. */
const char *etcp_code_text(int code);

/* Records code and a printf-style text in *e unless it holds an error already (the first wins).
 * Returns the code that *e holds afterwards. sys_errno is left 0. */
int etcp_error_set(etcp_error *e, int code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* As etcp_error_set for a failed system call: keeps saved_errno and appends its text to what. */
int etcp_error_set_errno(etcp_error *e, int saved_errno, const char *what);

#endif
