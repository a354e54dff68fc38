CONFAB_API int confab_b(void);
