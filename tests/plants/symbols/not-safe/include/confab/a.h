CONFAB_API int confab_a(void);
CONFAB_API int
confab_b(void);
