/* A flag that cancels, raised by a look at it. */
#ifndef TEST_FAULTS_COUNTED_LOOKS_H
#define TEST_FAULTS_COUNTED_LOOKS_H

/* Makes the calling thread watch a flag that the look with this number raises, counted from 0; at
 * no look when it is negative. */
void looks_arm(int raised_at);
/* Ends that. Returns how many looks there were. */
int looks_disarm(void);

#endif
