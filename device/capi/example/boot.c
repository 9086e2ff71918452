/* The bootloader: decides which slot runs, copies it to where it runs, and starts it. */
#include "board.h"

static uint8_t scratch[SCRATCH];

int main(void) {
  uart_start();
  SealiftDevice dev = device();
  SealiftBooted booted;
  int32_t code = sealift_boot(&dev, scratch, sizeof scratch, &booted);
  if (code != 0) {
    text("boot: nothing runs: SL-");
    number((uint64_t)code);
    line("");
    for (;;) {
    }
  }
  text(booted.slot == SEALIFT_SLOT_A ? "boot: slot a holds " : "boot: slot b holds ");
  version(booted.version);
  line(booted.trial ? ", on trial" : "");
  SealiftFlash *slot = booted.slot == SEALIFT_SLOT_A ? &dev.slot_a : &dev.slot_b;
  flash_read(slot->context, 0, (uint8_t *)RUN, booted.length);
  if (!sealift_is_image((const uint8_t *)RUN, booted.length, &booted.digest)) {
    line("boot: nothing runs: the copy differs");
    for (;;) {
    }
  }
  if (booted.trial) watchdog(2);
  HANDOVER->magic = HANDOVER_MAGIC;
  *(SealiftBooted *)&HANDOVER->booted = booted;
  REGISTER(0xe000ed08) = RUN;
  __asm__ volatile("msr msp, %0\n bx %1" ::"r"(REGISTER(RUN)), "r"(REGISTER(RUN + 4)));
  return 0;
}
