/* Stand-in: nobody knows whose an address is. */
#ifndef STAND_IN_DLFCN_H
#define STAND_IN_DLFCN_H
typedef struct {
    const char *dli_fname;
} Dl_info;
#define dladdr(address, information) 0
#endif
