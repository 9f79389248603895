/* What is loaded as the module: the functions are the program's that loads it. */
#define CRYPTOKI_GNU
#include <p11-kit/pkcs11.h>

struct hostile_interface;
ck_rv_t hostile_interface(unsigned char *name, struct ck_version *version,
                          struct hostile_interface **out, ck_flags_t flags);

ck_rv_t hostile_list(struct ck_function_list **list);

__attribute__((visibility("default"))) ck_rv_t C_GetFunctionList(struct ck_function_list **list);
__attribute__((visibility("default"))) ck_rv_t C_GetInterface(unsigned char *name,
                                                              struct ck_version *version,
                                                              struct hostile_interface **out,
                                                              ck_flags_t flags);

ck_rv_t C_GetFunctionList(struct ck_function_list **list)
{
    return hostile_list(list);
}

ck_rv_t C_GetInterface(unsigned char *name, struct ck_version *version,
                       struct hostile_interface **out, ck_flags_t flags)
{
    return hostile_interface(name, version, out, flags);
}
