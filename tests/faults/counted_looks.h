/* A cancellation flag that is raised by a check of it. */
#ifndef TEST_FAULTS_COUNTED_LOOKS_H
#define TEST_FAULTS_COUNTED_LOOKS_H

/* Makes the calling thread watch a flag that is raised by the check of this number, counted from 0;
 * never if negative. */
void looks_arm(int raised_at);
/* Ends that; returns the number of checks. */
int looks_disarm(void);

#endif
