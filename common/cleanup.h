/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cleanup.h: AUTO(x) runs x's destructor when the variable goes out of scope; TAKE() moves it out
 *
 *     AUTO(free) char *path = NULL;
 *     ...
 *     return TAKE(path);
 */
#ifndef COMMON_CLEANUP_H
#define COMMON_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTO(how) __attribute__((cleanup(cleanup_##how)))

/* The value of a variable, which is left NULL: its cleanup then does nothing. */
#define TAKE(var)                                                                                  \
    __extension__({                                                                                \
        __typeof__(var) taken_ = (var);                                                            \
        (var) = NULL;                                                                              \
        taken_;                                                                                    \
    })

/* The same for a file descriptor. */
#define TAKE_FD(fd)                                                                                \
    __extension__({                                                                                \
        int taken_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        taken_;                                                                                    \
    })

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Makes AUTO(name) available for a destructor void name(type *). */
#define CLEANUP_FN(type, name)                                                                     \
    static inline void cleanup_##name(type **p)                                                    \
    {                                                                                              \
        name(*p);                                                                                  \
    }

static inline void cleanup_free(void *p)
{
    void **pp = p;
    free(*pp);
}

static inline void cleanup_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
    if (*f)
        fclose(*f);
}

#endif
