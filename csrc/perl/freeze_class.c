#include "freeze_private.h"

#include "base/mem.h"

enum {
    FIRST_CLASSES = 8,
    MANY_CLASSES = 16 /* more are looked up by hash */
};

/* ---- the table of classes -------------------------------------------------------------------- */

/* Where the class is in the table, or class_count. */
static size_t find_class(pTHX_ const etcp_freezer *z, const HV *stash)
{
    const size_t few = z->class_count < MANY_CLASSES ? z->class_count : MANY_CLASSES;
    SV **number;
    size_t i;

    for (i = 0; i < few; i++) {
        if (z->classes[i].stash == stash)
            return i;
    }
    if (!z->class_numbers)
        return z->class_count;
    number = hv_fetch(z->class_numbers, (const char *)&stash, sizeof stash, 0);
    return number ? (size_t)SvUV(*number) : z->class_count;
}

static int reserve_class(etcp_freezer *z)
{
    size_t cap = z->class_cap ? z->class_cap * 2 : FIRST_CLASSES;
    etcp_freeze_class *classes;

    if (z->class_count < z->class_cap)
        return 0;
    if (cap > UINT32_MAX / sizeof *classes)
        return ETCP_ENOMEM;
    classes = etcp_realloc(z->classes, cap * sizeof *classes);
    if (!classes)
        return ETCP_ENOMEM;
    z->classes = classes;
    z->class_cap = cap;
    return 0;
}

static CV *method_of(pTHX_ HV *stash, const char *name)
{
    GV *gv = gv_fetchmethod_autoload(stash, name, FALSE);

    return gv && isGV((SV *)gv) ? GvCV(gv) : NULL;
}

/* Adds a class behind the last. Looking for methods may die. */
static int add_class(pTHX_ etcp_freezer *z, HV *stash)
{
    const char *name = HvNAME_get(stash);
    etcp_freeze_class *c;
    CV *hook;

    etcp_freeze_guard(aTHX_ z); /* parents may be such that perl dies of them */
    if (z->mode != ETCP_FREEZE_HOLDING && etcp_storable_may_warn(aTHX_ stash)) {
        z->mode = ETCP_FREEZE_HOLDING;
        return ETCP_FREEZE_AGAIN;
    }
    /* Its symbol table was deleted; Storable would not survive it. */
    if (!name || !*name)
        croak("Can't store objects of a class without a name");
    hook = method_of(aTHX_ stash, "STORABLE_freeze");
    if (reserve_class(z) < 0)
        return ETCP_ENOMEM;
    c = &z->classes[z->class_count];
    Zero(c, 1, etcp_freeze_class);
    c->stash = (HV *)SvREFCNT_inc_simple_NN((SV *)stash);
    c->hook = (CV *)SvREFCNT_inc((SV *)hook);
    c->name = name;
    c->len = strlen(name);
    if (z->class_count++ >= MANY_CLASSES) {
        if (!z->class_numbers)
            z->class_numbers = newHV();
        (void)hv_store(z->class_numbers, (const char *)&stash, sizeof stash,
                       newSVuv(z->class_count - 1), 0);
    }
    return 0;
}

/* Names the class of an object whose item follows. */
static int name_class(etcp_freezer *z, etcp_freeze_class *c)
{
    if (c->is_named)
        return etcp_storable_put_class_index(&z->w, c->number);
    c->is_named = 1;
    c->number = z->named_classes++;
    return etcp_storable_put_class(&z->w, (const uint8_t *)c->name, c->len);
}

int etcp_freeze_find_overloading(pTHX_ etcp_freezer *z, HV *stash, int *overloads)
{
    *overloads = 0;
#ifdef HvAMAGIC
    /* From Perl 5.18 on the flag is the stash's and says "perhaps". */
    if (!HvAMAGIC(stash))
        return ETCP_FREEZE_DONE;
#endif
    /* It dies when a method that overloads is missing, as nfreeze does. */
    etcp_freeze_guard(aTHX_ z);
    if (z->mode != ETCP_FREEZE_HOLDING && etcp_storable_may_warn(aTHX_ stash)) {
        z->mode = ETCP_FREEZE_HOLDING;
        return ETCP_FREEZE_AGAIN;
    }
    *overloads = Gv_AMG(stash) ? 1 : 0;
    return ETCP_FREEZE_DONE;
}

/* ---- hooks ----------------------------------------------------------------------------------- */

/* What the hook returns for the object, as a list of mortal's life: nothing, or a string and
 * references. */
static AV *call_hook(pTHX_ SV *object, CV *hook)
{
    AV *list = (AV *)sv_2mortal((SV *)newAV());
    dSP;
    I32 count;

    PUSHSTACKi(PERLSI_MAGIC);
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    EXTEND(SP, 2);
    PUSHs(sv_2mortal(newRV_inc(object)));
    PUSHs(sv_2mortal(newSViv(0))); /* no cloning */
    PUTBACK;
    count = call_sv((SV *)hook, G_ARRAY);
    SPAGAIN;
    if (count)
        av_extend(list, count - 1);
    while (count--) {
        SV *item = POPs;
        av_store(list, count, SvREFCNT_inc(item));
    }
    PUTBACK;
    FREETMPS;
    LEAVE;
    POPSTACK;
    return list;
}

/* The kind of an object as HOOK has it, or -1: one that hooks cannot be for. */
static int kind_of(const SV *object, const MAGIC *tie)
{
    if (tie)
        return tie->mg_type == PERL_MAGIC_tiedelem ? -1 : ETCP_SX_HOOK_TIED;
    switch (SvTYPE(object)) {
    case SVt_PVAV: return ETCP_SX_HOOK_ARRAY;
    case SVt_PVHV: return ETCP_SX_HOOK_HASH;
    default:
        return SvTYPE(object) <= SVt_PVMG || SvTYPE(object) == SVt_PVLV ? ETCP_SX_HOOK_SCALAR : -1;
    }
}

static void describe_object(const SV *object, etcp_storable_hook *h)
{
    h->kind = (unsigned)kind_of(object, etcp_freeze_tie_of(object));
    h->tied = SvTYPE(object) == SVt_PVHV   ? ETCP_SX_HOOK_TIED_HASH
              : SvTYPE(object) == SVt_PVAV ? ETCP_SX_HOOK_TIED_ARRAY
                                           : ETCP_SX_HOOK_TIED_SCALAR;
}

/* A class whose hook returns nothing does without, for all of the image. */
static int decline(pTHX_ etcp_freezer *z, etcp_freeze_class *c)
{
    if (c->is_named)
        croak("Too late to ignore hooks for storing class \"%s\"", c->name);
    SvREFCNT_dec((SV *)c->hook);
    c->hook = NULL;
    return name_class(z, c);
}

/* Reads what the hook returned first; it may be an object that overloads. */
static void put_text_in(pTHX_ AV *list, etcp_storable_hook *h)
{
    STRLEN len;

    h->text = (const uint8_t *)SvPV(AvARRAY(list)[0], len);
    h->text_len = len;
}

static int open_hook(pTHX_ etcp_freezer *z, SV *object, size_t class_index, AV *list)
{
    const SSize_t count = AvFILLp(list) + 1;
    etcp_freeze_frame *f;
    int rc;

    if (count > INT32_MAX)
        croak("Too many references returned by STORABLE_freeze()");
    if (count > 1 && method_of(aTHX_ z->classes[class_index].stash, "STORABLE_attach"))
        croak("Freeze cannot return references if %s class is using STORABLE_attach",
              z->classes[class_index].name);
    rc = etcp_freeze_push(aTHX_ z, ETCP_FREEZE_HOOK, object, (size_t)count, &f);
    if (rc != ETCP_FREEZE_OPENED)
        return rc;
    f->index = 1;
    f->u.list = list;
    f->class_index = (uint32_t)class_index;
    etcp_freeze_hold(aTHX_ z, SvREFCNT_inc_simple_NN((SV *)list));
    return rc;
}

/* An object whose class has a hook: it stands in a frame until all that it refers to is written. */
static int freeze_hooked(pTHX_ etcp_freezer *z, SV *object, size_t class_index)
{
    AV *list;

    if (etcp_freeze_needs_storable(z))
        return ETCP_FREEZE_AGAIN;
    if (kind_of(object, etcp_freeze_tie_of(object)) < 0)
        return ETCP_FREEZE_FOREIGN;
    list = call_hook(aTHX_ object, z->classes[class_index].hook);
    if (AvFILLp(list) < 0)
        return decline(aTHX_ z, &z->classes[class_index]);
    return open_hook(aTHX_ z, object, class_index, list);
}

/* What item i of the hook's list refers to. */
static SV *target_of(pTHX_ const etcp_freezer *z, const etcp_freeze_frame *f, size_t i)
{
    SV *item = AvARRAY(f->u.list)[i];

    if (!SvROK(item))
        croak("Item #%d returned by STORABLE_freeze for %s is not a reference", (int)i,
              z->classes[f->class_index].name);
    return SvRV(item);
}

/* All that it refers to has a tag: the string, and the tags. */
static int close_hook(pTHX_ etcp_freezer *z, etcp_freeze_frame *f)
{
    etcp_freeze_class *c = &z->classes[f->class_index];
    etcp_storable_hook h;
    uint32_t tag;
    size_t i;
    int rc;

    describe_object(f->value, &h);
    h.has_begun = f->has_begun;
    put_text_in(aTHX_ f->u.list, &h);
    if (h.text_len > INT32_MAX)
        return ETCP_FREEZE_FOREIGN;
    h.name = c->is_named ? NULL : (const uint8_t *)c->name;
    h.name_len = c->len;
    h.tag_count = f->count - 1;
    if (!c->is_named) {
        c->is_named = 1;
        c->number = z->named_classes++;
    }
    h.index = c->number;
    rc = etcp_storable_put_hook(&z->w, &h);
    for (i = 1; rc == 0 && i < f->count; i++) {
        if (etcp_storable_find(&z->w, target_of(aTHX_ z, f, i), &tag))
            rc = etcp_storable_put_u32(&z->w, tag);
    }
    return rc;
}

int etcp_freeze_hook_step(pTHX_ etcp_freezer *z, etcp_freeze_frame *f, SV **next)
{
    etcp_storable_hook h;
    const MAGIC *tie;
    uint32_t tag;
    int rc;

    for (; f->index < f->count; f->index++) {
        SV *target = target_of(aTHX_ z, f, f->index);

        if (etcp_storable_find(&z->w, target, &tag))
            continue;
        describe_object(f->value, &h);
        h.has_begun = f->has_begun;
        f->has_begun = 1;
        rc = etcp_storable_begin_hook(&z->w, &h);
        *next = target;
        return rc < 0 ? rc : ETCP_FREEZE_NEXT;
    }
    rc = close_hook(aTHX_ z, f);
    tie = etcp_freeze_tie_of(f->value);
    if (rc || !tie)
        return rc;
    f->kind = ETCP_FREEZE_LAST;
    *next = etcp_freeze_tied_object(aTHX_ tie);
    return ETCP_FREEZE_NEXT;
}

int etcp_freeze_object(pTHX_ etcp_freezer *z, SV *sv)
{
    HV *stash = SvSTASH(sv);
    size_t i = find_class(aTHX_ z, stash);

    if (i == z->class_count) {
        int rc = add_class(aTHX_ z, stash);
        if (rc)
            return rc;
    }
    if (z->classes[i].hook)
        return freeze_hooked(aTHX_ z, sv, i);
    return name_class(z, &z->classes[i]);
}
