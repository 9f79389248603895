#include "key/wrapping.h"

#include "base/scope.h"
#include "module/call.h"

static const CK_OBJECT_CLASS roles[][2] = {
    [TO_BE_WRAPPED] = { CKO_SECRET_KEY, CKO_PRIVATE_KEY },
    [WRAPS] = { CKO_SECRET_KEY, CKO_PUBLIC_KEY },
    [UNWRAPS] = { CKO_SECRET_KEY, CKO_PRIVATE_KEY },
};

static bool plays(const struct uri *uri, enum wrapping_role role, CK_OBJECT_CLASS class)
{
    CK_OBJECT_CLASS named;

    if (!uri_class(uri, &named) || named == class)
        return true;
    return role != TO_BE_WRAPPED && class != CKO_SECRET_KEY && named != CKO_SECRET_KEY;
}

CK_RV wrapping_find(struct session *session, const struct uri *uri, enum wrapping_role role,
                    struct handle *handle, CK_ULONG *count)
{
    CK_RV rv = CKR_OK;

    *count = 0;
    for (size_t i = 0; rv == CKR_OK && i < COUNT(roles[role]); i++) {
        CK_OBJECT_CLASS class = roles[role][i];
        CK_ATTRIBUTE template[TEMPLATE_MAX] = { { CKA_CLASS, &class, sizeof(class) } };
        struct handle found[2];
        CK_ULONG some = 0;

        if (!plays(uri, role, class))
            continue;
        rv = session_find(session, template, uri_add_names(uri, template, 1), found, COUNT(found),
                          &some);
        if (rv == CKR_OK && some != 0 && *count == 0)
            *handle = found[0];
        *count += some;
    }
    return rv;
}

CK_RV wrapping_look(struct session *session, struct handle handle, struct attributes **out)
{
    static const CK_ATTRIBUTE_TYPE asked[] = {
        CKA_CLASS, CKA_KEY_TYPE, CKA_EXTRACTABLE,       CKA_TRUSTED,
        CKA_WRAP,  CKA_UNWRAP,   CKA_WRAP_WITH_TRUSTED, CKA_MODULUS
    };

    *out = OPENSSL_malloc(sizeof(**out));
    return *out != NULL ? attributes_read(session, handle, asked, COUNT(asked), *out)
                        : CKR_HOST_MEMORY;
}

CK_RV wrapping_inner(struct session *session, CK_FLAGS flag, CK_MECHANISM *mechanism, bool *has)
{
    CK_RV rv = CKR_OK;

    *has = false;
    for (size_t i = 0; rv == CKR_OK && !*has && i < WRAP_INNER_WAYS; i++) {
        *mechanism = (CK_MECHANISM){ wrap_inner[i], NULL, 0 };
        rv = slot_mechanism(session, wrap_inner[i], flag, has);
    }
    return rv;
}

CK_RV wrapping_going(struct session *session, const struct wrap_way *way, CK_FLAGS flag,
                     enum wrapping_going *going)
{
    CK_MECHANISM inner;
    bool has = false;
    CK_RV rv = slot_mechanism(session, way->mechanism, flag, &has);

    *going = has ? GOING_AT_ONCE : GOING_NOT;
    if (rv != CKR_OK || has || way->form != WRAP_RSA_AES)
        return rv;
    rv = slot_mechanism(session, CKM_RSA_PKCS_OAEP, flag, &has);
    if (rv == CKR_OK && has)
        rv = wrapping_inner(session, flag, &inner, &has);
    if (rv == CKR_OK && has)
        *going = GOING_BY_TWO;
    return rv;
}

bool wrapping_refused(CK_RV rv)
{
    static const CK_RV values[] = { CKR_MECHANISM_INVALID,       CKR_MECHANISM_PARAM_INVALID,
                                    CKR_ARGUMENTS_BAD,           CKR_FUNCTION_NOT_SUPPORTED,
                                    CKR_KEY_NOT_WRAPPABLE,       CKR_KEY_SIZE_RANGE,
                                    CKR_WRAPPING_KEY_SIZE_RANGE, CKR_UNWRAPPING_KEY_SIZE_RANGE,
                                    CKR_WRAPPED_KEY_INVALID,     CKR_WRAPPED_KEY_LEN_RANGE,
                                    CKR_FUNCTION_FAILED,         CKR_GENERAL_ERROR };

    for (size_t i = 0; i < COUNT(values); i++)
        if (values[i] == rv)
            return true;
    return false;
}

const struct wrap_way *wrapping_next(const struct wrap_way *named, CK_KEY_TYPE with,
                                     const struct wrap_way *previous)
{
    if (named == NULL)
        return wrap_next(with, previous);
    return previous == NULL && named->with == with ? named : NULL;
}

CK_RV wrapping_drop(struct session *session, struct handle middle, CK_RV rv)
{
    const char *name = call_name();
    CK_RV dropped = session_destroy(session, middle);

    if (rv != CKR_OK)
        call_named(name);
    return rv != CKR_OK ? rv : dropped;
}

bool wrapping_names(const struct provider *provider, const struct uri *uri, const char *verb)
{
    if (!uri->names_object)
        error_raise(&provider->core, REASON_URI, "cannot %s %s: neither object nor id is given",
                    verb, uri->text);
    return uri->names_object;
}
