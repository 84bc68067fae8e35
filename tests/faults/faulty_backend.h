/* A backend whose operations fail where told to; it stands for all, and another one computes. */
#ifndef TEST_FAULTS_FAULTY_BACKEND_H
#define TEST_FAULTS_FAULTY_BACKEND_H

/* What is planned, packed and run counts from here on, from 0; `at` fails (-1: none). */
void operations_arm(int at);
/* Ends that; returns how many there were. */
int operations_disarm(void);
/* What failed: "plan linear", "run attention"; NULL when nothing did. */
const char *operations_failed(void);

#endif
