#ifndef A
#define A
int a(int class);
#endif
