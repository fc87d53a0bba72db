/* For functions that most calls of their callers have no need of. */
#ifndef ETCP_BASE_RARE_H
#define ETCP_BASE_RARE_H

/* Keeps a function out of those that call it: inlined, what happens rarely would have what happens
 * always save registers and make room on the stack. */
#if defined(__GNUC__)
#define ETCP_RARE __attribute__((noinline))
#else
#define ETCP_RARE
#endif

#endif
