#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *etcp_code_text(int code)
{
    switch ((etcp_code)code) {
    case ETCP_OK: return "success";
    case ETCP_AGAIN: return "more bytes needed";
    case ETCP_EINTR: return "interrupted by a signal";
    case ETCP_EPROTO: return "protocol error";
    case ETCP_EREJECTED: return "rejected by the peer";
    case ETCP_EDECODE: return "payload cannot be decoded";
    case ETCP_EPROXY: return "malformed PROXY header";
    case ETCP_EPOLICY: return "connection is less protected than demanded";
    case ETCP_ETOOBIG: return "size limit exceeded";
    case ETCP_EFULL: return "too much output is queued";
    case ETCP_ECRYPT: return "encryption or decryption failed";
    case ETCP_ESYSTEM: return "system call failed";
    case ETCP_ETIMEOUT: return "timed out";
    case ETCP_ECLOSED: return "connection closed";
    case ETCP_EINVAL: return "invalid argument";
    case ETCP_ENOMEM: return "out of memory";
    }
    return "unknown error";
}

int etcp_error_set(etcp_error *e, int code, const char *format, ...)
{
    va_list args;

    if (e->code)
        return e->code;
    e->code = code;
    va_start(args, format);
    (void)vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return code;
}

int etcp_error_set_errno(etcp_error *e, int saved_errno, const char *what)
{
    if (e->code)
        return e->code;
    e->sys_errno = saved_errno;
    return etcp_error_set(e, ETCP_ESYSTEM, "%s: %s", what, strerror(saved_errno));
}
