/* Start-up of a Cortex-M3 program: the vector table, and what C expects before main. */
#include <stdint.h>

extern uint32_t __bss_start[], __bss_end[], __data_start[], __data_end[], __data_load[], __stack_top[];
int main(void);

void reset_handler(void) {
  for (uint32_t *at = __bss_start; at < __bss_end; at++) *at = 0;
  for (uint32_t *to = __data_start, *from = __data_load; to < __data_end;) *to++ = *from++;
  main();
  for (;;) {
  }
}

/* Also the watchdog's warning (NMI): whoever comes here waits for its bite. */
void fault_handler(void) {
  for (;;) {
  }
}

__attribute__((section(".vector_table"), used)) static const void *const vectors[16] = {
    __stack_top,          (void *)reset_handler, (void *)fault_handler, (void *)fault_handler,
    (void *)fault_handler, (void *)fault_handler, (void *)fault_handler, (void *)fault_handler,
    (void *)fault_handler, (void *)fault_handler, (void *)fault_handler, (void *)fault_handler,
    (void *)fault_handler, (void *)fault_handler, (void *)fault_handler, (void *)fault_handler,
};
