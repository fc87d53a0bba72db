#include "arguments.h"

void etcp_arguments_keep(pTHX_ etcp_object *o, I32 ax, I32 items)
{
    I32 i;

    etcp_object_protect(aTHX_ o);
    for (i = 1; i < items; i++)
        sv_2mortal(SvREFCNT_inc_simple_NN(ST(i)));
}

SV *etcp_arguments_text(pTHX_ SV *value)
{
    STRLEN len;
    const char *bytes = SvPV_const(value, len);
    SV *text = sv_2mortal(newSVpvn(bytes, len));

    if (SvUTF8(value))
        SvUTF8_on(text);
    return text;
}
