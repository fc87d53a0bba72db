/* What perl knows of whether the operators of a class are overloaded. */
#ifndef ETCP_PERL_OVERLOADING_H
#define ETCP_PERL_OVERLOADING_H

#include "bridge.h"

/* Perl takes it that a class with parents may overload operators until it looks: when a script asks for
 * the truth of an object, for example. What it finds then it keeps with the symbol table, as magic, and
 * each call of a method takes longer where there is any. So this looks, before there is an object, and
 * keeps nothing if there is nothing: perl looks again when the class gets another method or parent. */
void etcp_overloading_look(pTHX_ HV *stash);

#endif
