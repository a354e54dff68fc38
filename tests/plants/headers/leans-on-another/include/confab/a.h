static inline uint32_t a(void) { return 1; }
