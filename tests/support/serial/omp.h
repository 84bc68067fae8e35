/* OpenMP for builds that ignore its pragmas, such as those of tests/memory.sh: one thread. */
#ifndef AACLIP_TESTS_SERIAL_OMP_H
#define AACLIP_TESTS_SERIAL_OMP_H

static inline int omp_get_max_threads(void)
{
    return 1;
}

static inline int omp_get_num_threads(void)
{
    return 1;
}

static inline int omp_get_thread_num(void)
{
    return 0;
}

static inline int omp_get_thread_limit(void)
{
    return 1;
}

static inline int omp_get_max_active_levels(void)
{
    return 1;
}

static inline int omp_in_parallel(void)
{
    return 0;
}

static inline int omp_get_dynamic(void)
{
    return 0;
}

static inline void omp_set_num_threads(int threads)
{
    (void)threads;
}

static inline void omp_set_dynamic(int dynamic)
{
    (void)dynamic;
}

#define KMP_VERSION_MAJOR 0 /* no team that a forked process must end */

#endif
