#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "tls_private.h"

int etcp_channel_fail(etcp_channel *ch, int code, const char *format, ...)
{
    va_list args;

    if (ch->code)
        return ch->code;
    ch->code = (int8_t)code;
    if (ch->error)
        return code; /* why the input ended */
    ch->error = etcp_zalloc(sizeof *ch->error);
    if (!ch->error)
        return code;
    ch->error->code = code;
    va_start(args, format);
    (void)vsnprintf(ch->error->text, sizeof ch->error->text, format, args);
    va_end(args);
    return code;
}
