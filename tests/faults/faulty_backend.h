/* A backend whose operations fail where told to. It replaces all others; one of them computes for
 * it. */
#ifndef TEST_FAULTS_FAULTY_BACKEND_H
#define TEST_FAULTS_FAULTY_BACKEND_H

/* From now on plans, packs and runs are counted from 0; number `at` fails (-1: none). */
void operations_arm(int at);
/* Ends that; returns their number. */
int operations_disarm(void);
/* What failed: "plan linear", "run attention"; NULL if nothing did. */
const char *operations_failed(void);

#endif
