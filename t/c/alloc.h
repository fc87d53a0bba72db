/* Allocation under the tests' control: fails the n-th allocation of the core, counts live blocks.
 *
 * The usual shape of a test that tries every failure:
 *
 *     for (n = 1; ; n++) {
 *         alloc_fail_at(n);
 *         rc = work();
 *         if (rc == 0 || !alloc_has_failed())
 *             break;
 *         tap_is_int(alloc_live(), 0, ...);
 *     }
 *     tap_is_int(rc, 0, ...);
 *     alloc_reset();
 *
 * It ends, too, where the work fails for another reason: because of a policy of OpenSSL's, say. */
#ifndef ETCP_T_ALLOC_H
#define ETCP_T_ALLOC_H

/* Installs hooks in base/mem.h that fail the n-th allocation from now (1-based) and no other; 0
 * fails none. Restarts alloc_count. Blocks made under the hooks so far stay counted, so it may be
 * called again while core objects live; before the first call, none may. */
void alloc_fail_at(long n);

/* Blocks allocated under the hooks and not freed yet. */
long alloc_live(void);

/* Allocations tried since the last alloc_fail_at, the failed one included. */
long alloc_count(void);

/* Whether the allocation that was to fail was tried. If not, no further attempt will go better. */
int alloc_has_failed(void);

/* Back to the C library's functions and zero counts. No block made under the hooks may live. */
void alloc_reset(void);

#endif
