/* Arguments of methods whose reading runs Perl code: ties, overloading, other magic,
 * warnings. */
#ifndef ETCP_PERL_ARGUMENTS_H
#define ETCP_PERL_ARGUMENTS_H

#include "object.h"

/* Keeps the object of a method and its arguments, items of them from ST(0) on, alive until the statement
 * ends: reading one may run code that drops any of them, the handler of a warning, too. Call it before
 * the first is read; it runs none. */
void etcp_arguments_keep(pTHX_ etcp_object *o, I32 ax, I32 items);

/* The text of a value, read once: a mortal without magic, which nothing else changes. */
SV *etcp_arguments_text(pTHX_ SV *value);

/* The subroutine that a code reference without a class leads to, whose magic has been read; NULL: it is
 * something else. */
static inline CV *etcp_arguments_code(const SV *reference)
{
    SV *code = SvROK(reference) ? SvRV(reference) : NULL;

    return code && !SvOBJECT(code) && SvTYPE(code) == SVt_PVCV ? (CV *)code : NULL;
}

#endif
