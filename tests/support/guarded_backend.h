/* The backend of guarded_backend.c, "guarded", has two devices. */
#ifndef TEST_GUARDED_BACKEND_H
#define TEST_GUARDED_BACKEND_H

/* The device that the calling thread has entered. */
int guarded_device(void);

/* Number of recordings played so far. */
unsigned guarded_plays(void);

#endif
