#include "freeze_scalar.h"

#include "base/mem.h"

/* From here on, the memory of an image goes to the connection, and is not used again. */
enum { GIVEN_MIN = 1 << 20 };

/* What is written is what nfreeze writes, whatever Storable's limits of nesting: what a peer may
 * send must be fit to be sent. Only what is beyond this is left to nfreeze itself, which then says
 * why not. */

/* ---- references and arrays ------------------------------------------------------------------- */

static int freeze_reference(pTHX_ etcp_freezer *z, const SV *rv, SV **next)
{
    SV *target = SvRV((SV *)rv);
    int overloads = 0;
    etcp_storable_op op;
    int rc;

    if (SvOBJECT(target)) {
        if (z->mode == ETCP_FREEZE_HOLDING) /* the handler of a warning may let go of it */
            etcp_freeze_hold(aTHX_ z, SvREFCNT_inc_simple_NN(target));
        rc = etcp_freeze_find_overloading(aTHX_ z, SvSTASH(target), &overloads);
        if (rc)
            return rc;
    }
    op = overloads ? ETCP_SX_OVERLOAD : ETCP_SX_REF;
    if (SvWEAKREF(rv)) {
        if (etcp_freeze_needs(z, ETCP_FREEZE_TRACKING))
            return ETCP_FREEZE_AGAIN;
        op = overloads ? ETCP_SX_WEAKOVERLOAD : ETCP_SX_WEAKREF;
    }
    rc = etcp_storable_put_op(&z->w, op);
    return rc < 0 ? rc : etcp_freeze_below(aTHX_ z, target, next);
}

static int freeze_array(pTHX_ etcp_freezer *z, AV *av)
{
    int is_magical = SvMAGICAL(av) && etcp_freeze_is_magical((SV *)av);
    SSize_t count = is_magical ? av_len(av) + 1 : AvFILLp(av) + 1;
    etcp_freeze_frame *f;
    int rc;

    if (is_magical && etcp_freeze_needs(z, ETCP_FREEZE_HOLDING))
        return ETCP_FREEZE_AGAIN;
    /* The elements of an old @_ belong to others, who may refer to them. */
    if (!AvREAL(av) && etcp_freeze_needs(z, ETCP_FREEZE_TRACKING))
        return ETCP_FREEZE_AGAIN;
    if (count > INT32_MAX)
        return ETCP_FREEZE_FOREIGN;
    rc = etcp_storable_put_container(&z->w, ETCP_SX_ARRAY, (uint32_t)count);
    if (rc < 0 || count == 0)
        return rc;
    return etcp_freeze_push(aTHX_ z, ETCP_FREEZE_ARRAY, (SV *)av, (size_t)count, &f);
}

/* An element that is absent, or the undef constant. */
static int freeze_absence(etcp_freezer *z, const SV *sv)
{
    etcp_storable_pass(&z->w);
#if PERL_VERSION >= 20
    /* Before, the constant in an array was what an absent element looked like. */
    if (sv)
        return etcp_storable_put_op(&z->w, ETCP_SX_SVUNDEF_ELEM);
#else
    PERL_UNUSED_VAR(sv);
#endif
    return etcp_storable_put_op(&z->w, ETCP_SX_SV_UNDEF);
}

/* An element while Perl code runs, which may have shortened the array. */
static SV *fetch_element(pTHX_ AV *av, size_t index)
{
    SV **element = av_fetch(av, (SSize_t)index, 0);

    return element ? *element : NULL;
}

static int step_array(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next)
{
    AV *const av = (AV *)f->value;
    int rc;

    while (f->index < f->count) {
        SV *sv = z->mode == ETCP_FREEZE_HOLDING ? fetch_element(aTHX_ av, f->index)
                                                : AvARRAY(av)[f->index];
        f->index++;
        rc = sv && sv != &PL_sv_undef ? etcp_freeze_element(aTHX_ z, sv, next)
                                      : freeze_absence(z, sv);
        if (rc)
            return rc;
    }
    return ETCP_FREEZE_DONE;
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* Where the item begins behind the header and the class of an image; the class was written by us.
 */
static STRLEN skip_class(const U8 *image, STRLEN len)
{
    STRLEN name_len;

    if (len < 8 || image[2] != ETCP_SX_BLESS)
        return 2;
    if (image[3] != ETCP_SX_LONG_CLASS)
        return 4 + (STRLEN)image[3];
    name_len = (STRLEN)image[4] << 24 | (STRLEN)image[5] << 16 | (STRLEN)image[6] << 8 | image[7];
    return 8 + name_len;
}

static int freeze_leaf(pTHX_ etcp_freezer *z, SV *sv)
{
    const U8 *image;
    SV *frozen;
    STRLEN len;
    STRLEN skip;
    uint8_t *to;

    if (etcp_freeze_needs_storable(z))
        return ETCP_FREEZE_AGAIN;
    etcp_freeze_guard(aTHX_ z);
    frozen = etcp_storable_call(aTHX_ "Storable::nfreeze", sv_2mortal(newRV_inc(sv)), 0);
    etcp_freeze_hold(aTHX_ z, frozen);
    image = (const U8 *)SvPV_const(frozen, len);
    skip = SvOBJECT(sv) ? skip_class(image, len) : 2;
    if (len <= skip)
        croak("Storable could not freeze the structure");
    /* The source of code counts twice. */
    if (image[skip] == ETCP_SX_CODE)
        etcp_storable_pass(&z->w);
    to = etcp_storable_room(&z->w, len - skip);
    if (!to)
        return ETCP_ENOMEM;
    memcpy(to, image + skip, len - skip);
    etcp_storable_wrote(&z->w, len - skip);
    return ETCP_FREEZE_DONE;
}

/* Scalars with magic, and those that stand for something else. */
static int freeze_magical(pTHX_ etcp_freezer *z, SV *sv, SV **next)
{
    const MAGIC *tie = etcp_freeze_tie_of(sv);
    int rc;

    if (tie)
        return etcp_freeze_tied(aTHX_ z, sv, tie, next);
    rc = etcp_freeze_read(aTHX_ z, sv);
    if (rc)
        return rc;
    if (isGV_with_GP(sv)) {
        etcp_freeze_guard(aTHX_ z);
        croak("Can't store GLOB items");
    }
    return SvROK(sv) ? freeze_reference(aTHX_ z, sv, next) : etcp_freeze_scalar(aTHX_ z, sv);
}

static int freeze_content(pTHX_ etcp_freezer *z, SV *sv, SV **next)
{
    const MAGIC *tie;

    switch (SvTYPE(sv)) {
    case SVt_PVMG:
#if PERL_VERSION < 11
        if (SvOBJECT(sv) && SvMAGICAL(sv) && mg_find(sv, PERL_MAGIC_qr))
            return freeze_leaf(aTHX_ z, sv);
#endif
        if (SvMAGICAL(sv))
            return freeze_magical(aTHX_ z, sv, next);
        /* FALLTHROUGH */
    case SVt_NULL:
    case SVt_IV:
#if PERL_VERSION < 11
    case SVt_RV:
#endif
    case SVt_NV:
    case SVt_PV:
    case SVt_PVIV:
    case SVt_PVNV:
        return SvROK(sv) ? freeze_reference(aTHX_ z, sv, next) : etcp_freeze_scalar(aTHX_ z, sv);
    case SVt_PVLV: return freeze_magical(aTHX_ z, sv, next);
    case SVt_PVAV:
        tie = SvRMAGICAL(sv) ? etcp_freeze_tie_of(sv) : NULL;
        return tie ? etcp_freeze_tied(aTHX_ z, sv, tie, next) : freeze_array(aTHX_ z, (AV *)sv);
    case SVt_PVHV:
        tie = SvRMAGICAL(sv) ? etcp_freeze_tie_of(sv) : NULL;
        return tie ? etcp_freeze_tied(aTHX_ z, sv, tie, next) : etcp_freeze_hash(aTHX_ z, (HV *)sv);
    default: return freeze_leaf(aTHX_ z, sv);
    }
}

static int freeze_item(pTHX_ etcp_freezer *z, SV *sv, SV **next)
{
    int rc;

    /* What only one thing refers to is met once: only weak references do not count. The undef
     * constant is written anew each time. */
    if ((SvREFCNT(sv) == 1 && z->mode == ETCP_FREEZE_PLAIN) || sv == &PL_sv_undef) {
        etcp_storable_pass(&z->w);
    } else {
        rc = etcp_storable_meet(&z->w, sv);
        if (rc)
            return rc > 0 ? ETCP_FREEZE_DONE : rc;
        if (z->mode == ETCP_FREEZE_HOLDING)
            etcp_freeze_hold(aTHX_ z, SvREFCNT_inc_simple_NN(sv));
    }
    if (SvOBJECT(sv)) {
        rc = etcp_freeze_object(aTHX_ z, sv);
        if (rc)
            return rc;
    }
    return freeze_content(aTHX_ z, sv, next);
}

static int step(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next)
{
    switch ((etcp_freeze_kind)f->kind) {
    case ETCP_FREEZE_ARRAY: return step_array(aTHX_ z, f, next);
    case ETCP_FREEZE_HASH:
    case ETCP_FREEZE_SORTED:
    case ETCP_FREEZE_SNAPSHOT: return etcp_freeze_hash_step(aTHX_ z, f, next);
    case ETCP_FREEZE_TIED_KEY:
    case ETCP_FREEZE_TIED_INDEX: return etcp_freeze_tied_step(aTHX_ z, f, next);
    case ETCP_FREEZE_HOOK: return etcp_freeze_hook_step(aTHX_ z, f, next);
    case ETCP_FREEZE_LAST: break;
    }
    return ETCP_FREEZE_DONE;
}

/* Goes on with the frames until an item has to be written, which *next names, or nothing is left.
 */
static int unwind(pTHX_ etcp_freezer *z, SV **next)
{
    while (z->depth) {
        etcp_freeze_frame *f = &z->frames[z->depth - 1];
        int rc;

        z->level = f->level;
        rc = step(aTHX_ z, f, next);
        if (rc == ETCP_FREEZE_DONE)
            etcp_freeze_pop(z);
        else if (rc != ETCP_FREEZE_OPENED)
            return rc;
    }
    return ETCP_FREEZE_DONE;
}

static int walk(pTHX_ etcp_freezer *z, SV *root)
{
    SV *sv = root;
    int rc;

    z->level = 0;
    do {
        rc = freeze_item(aTHX_ z, sv, &sv);
        if (rc == ETCP_FREEZE_DONE || rc == ETCP_FREEZE_OPENED)
            rc = unwind(aTHX_ z, &sv);
    } while (rc == ETCP_FREEZE_NEXT);
    return rc;
}

/* ---- settings and delegation ----------------------------------------------------------------- */

static int freeze_natively(pTHX_ etcp_freezer *z, SV *root, int may_run_perl)
{
    SV *canonical = etcp_storable_setting(aTHX_ z->state->canonical);
    int rc;

    if (canonical && (SvGMAGICAL(canonical) || SvROK(canonical))) {
        if (!may_run_perl)
            return ETCP_FREEZE_AGAIN;
        etcp_freeze_guard(aTHX_ z); /* it may die of what is read */
    }
    z->is_canonical = canonical && SvTRUE(canonical);
    for (;;) {
        rc = etcp_storable_begin(&z->w, z->state->minor);
        if (rc == 0)
            rc = walk(aTHX_ z, root);
        if (rc != ETCP_FREEZE_AGAIN || (z->mode == ETCP_FREEZE_HOLDING && !may_run_perl))
            return rc;
        etcp_freeze_end_loans(aTHX_ z);
        etcp_freezer_clean(aTHX_ z);
    }
}

static void freeze_by_storable(pTHX_ etcp_storable_state *s, SV *rv, const U8 **data, STRLEN *len)
{
    SV *frozen = etcp_storable_call(aTHX_ "Storable::nfreeze", rv, 0);
    SV *old = s->frozen;

    /* A hook may have come back here meanwhile: what it froze is no longer needed. */
    s->frozen = frozen;
    SvREFCNT_dec(old);
    if (!SvPOK(frozen))
        croak("Storable could not freeze the structure");
    *data = (const U8 *)SvPVX_const(frozen);
    *len = SvCUR(frozen);
}

/* ---- large images ---------------------------------------------------------------------------- */

/* The image's own bytes, of which several pieces may be parts. */
typedef struct image_block {
    size_t references;
    uint8_t *bytes;
} image_block;

static void release_block(void *owner)
{
    image_block *block = (image_block *)owner;

    if (--block->references)
        return;
    etcp_free(block->bytes);
    etcp_free(block);
}

static void release_loan(void *owner)
{
    dTHX;

    SvREFCNT_dec((SV *)owner);
}

static void add_own(etcp_frozen *frozen, image_block *block, size_t from, size_t to)
{
    etcp_piece *piece = &frozen->pieces[frozen->count];

    if (from == to)
        return;
    piece->bytes = block->bytes + from;
    piece->len = to - from;
    piece->release = release_block;
    piece->owner = block;
    piece->is_forgotten = 1;
    block->references++;
    frozen->count++;
}

static void add_loan(etcp_frozen *frozen, const etcp_storable_loan *loan)
{
    etcp_piece *piece = &frozen->pieces[frozen->count++];

    piece->bytes = (const uint8_t *)loan->bytes;
    piece->len = loan->len;
    piece->release = release_loan;
    piece->owner = loan->owner;
    piece->is_forgotten = 0;
    frozen->len += loan->len;
}

/* Takes the image out of the freezer, with what keeps its loans. Returns 0 if there is no memory. */
static int give_pieces(pTHX_ etcp_freezer *z, etcp_frozen *frozen)
{
    image_block *block = etcp_zalloc(sizeof *block);
    size_t done = 0;
    size_t i;

    PERL_UNUSED_CONTEXT;
    frozen->pieces = etcp_malloc((2 * z->w.loan_count + 1) * sizeof *frozen->pieces);
    if (!block || !frozen->pieces) {
        etcp_free(block);
        etcp_free(frozen->pieces);
        return 0;
    }
    block->bytes = z->w.out.data; /* an image that was not sent yet begins there */
    frozen->len = etcp_buf_len(&z->w.out);
    for (i = 0; i < z->w.loan_count; i++) {
        const etcp_storable_loan *loan = &z->w.loans[i];

        add_own(frozen, block, done, loan->at);
        add_loan(frozen, loan);
        done = loan->at;
    }
    add_own(frozen, block, done, etcp_buf_len(&z->w.out));
    z->w.loan_count = 0;
    etcp_buf_init(&z->w.out);
    return 1;
}

/* Returns as etcp_perl_freeze, or -1: this takes Perl code, which may not run. The image is *z's: NULL
 * if it is Storable's, in *data. */
static int freeze(pTHX_ SV *rv, unsigned can, int lends, int may_run_perl, etcp_freezer **z,
                  const U8 **data, STRLEN *len)
{
    etcp_storable_state *s = etcp_storable_state_of(aTHX);
    etcp_freezer *used = etcp_freezer_take(s);
    int rc;

    if (!used)
        croak("Out of memory");
    used->can = can;
    used->lends = lends;
    rc = SvROK(rv) ? freeze_natively(aTHX_ used, SvRV(rv), may_run_perl) : ETCP_FREEZE_FOREIGN;
    if (rc)
        etcp_freeze_end_loans(aTHX_ used);
    etcp_freezer_finish(aTHX_ used);
    if (rc == ETCP_ENOMEM)
        croak("Out of memory");
    *z = NULL;
    if (rc && !may_run_perl)
        return -1;
    if (rc) {
        freeze_by_storable(aTHX_ s, rv, data, len);
        return 0;
    }
    *z = used;
    *data = etcp_buf_bytes(&used->w.out);
    *len = etcp_buf_len(&used->w.out);
    return 1;
}

int etcp_perl_freeze(pTHX_ SV *rv, unsigned can, const U8 **data, STRLEN *len)
{
    etcp_freezer *z;

    return freeze(aTHX_ rv, can, 0, 1, &z, data, len);
}

int etcp_perl_freeze_pieces(pTHX_ SV *rv, unsigned can, int may_run_perl, etcp_frozen *frozen)
{
    etcp_freezer *z;

    frozen->pieces = NULL;
    frozen->count = 0;
    if (freeze(aTHX_ rv, can, 1, may_run_perl, &z, &frozen->bytes, &frozen->len) < 0)
        return 0;
    if (z && (z->w.loan_count || frozen->len >= GIVEN_MIN) && !give_pieces(aTHX_ z, frozen)) {
        etcp_freeze_end_loans(aTHX_ z);
        croak("Out of memory");
    }
    return 1;
}
