CONFAB_API int confab_a(void);
