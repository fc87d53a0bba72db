/* Warnings of names that are probably misspelt, each of them once in the life of the process. */
#ifndef ETCP_PERL_SPELLING_H
#define ETCP_PERL_SPELLING_H

#include "bridge.h"

/* Warns if name, which is none of the count known names, is within two letters of one: letters that are
 * changed, missing, too many, or exchanged with their neighbours. Names that begin with an underscore
 * are the program's. what says what is named. Dies where such warnings are fatal. */
void etcp_spelling_check(pTHX_ const char *what, SV *name, const char *const *known, size_t count);

/* Warns with a text, if the code that called the module has warnings of category Net::EasyTCP on and
 * this text did not come before. Dies where such warnings are fatal. */
void etcp_spelling_warn(pTHX_ SV *text);

#endif
