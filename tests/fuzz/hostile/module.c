/* What is loaded as the module: the functions are the program's that loads it. */
#define CRYPTOKI_GNU
#include <p11-kit/pkcs11.h>

ck_rv_t hostile_list(struct ck_function_list **list);

__attribute__((visibility("default"))) ck_rv_t C_GetFunctionList(struct ck_function_list **list);

ck_rv_t C_GetFunctionList(struct ck_function_list **list)
{
    return hostile_list(list);
}
