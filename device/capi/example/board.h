/* QEMU's mps2-an385 (Cortex-M3): what bootloader and application of the example share. The memory at FLASH stands for flash, and is
   laid out as in device/bare-metal. */
#ifndef BOARD_H
#define BOARD_H

#include "../include/sealift.h"

#define FLASH 0x21000000u
#define RUN 0x00100000u
#define HANDOVER ((volatile struct handover *)0x2000ff00u)
#define SLOT (256u * 1024)
#define STORE (64u * 1024)
#define SCRATCH 3072u

#define REGISTER(address) (*(volatile uint32_t *)(address))

struct handover {
  uint32_t magic;
  SealiftBooted booted;
};
#define HANDOVER_MAGIC 0x5ea11f7bu

static void send(char byte) {
  while (REGISTER(0x40004004) & 1) {
  }
  REGISTER(0x40004000) = (uint8_t)byte;
}

static void text(const char *text) {
  while (*text) send(*text++);
}

static void line(const char *content) {
  text(content);
  text("\r\n");
}

static void number(uint64_t value) {
  char digits[20];
  unsigned at = 0;
  do {
    digits[at++] = (char)('0' + value % 10);
    value /= 10;
  } while (value);
  while (at) send(digits[--at]);
}

static void version(const uint32_t parts[3]) {
  for (unsigned at = 0; at < 3; at++) {
    if (at) text(".");
    number(parts[at]);
  }
}

static void uart_start(void) {
  REGISTER(0x40004010) = 16;
  REGISTER(0x40004008) = 3;
}

static void reset(void) {
  for (;;) REGISTER(0xe000ed0c) = 0x05fa0004;
}

static void watchdog(uint32_t seconds) {
  REGISTER(0x40008c00) = 0x1acce551;
  if (seconds) REGISTER(0x40008000) = 25000000u * seconds;
  REGISTER(0x40008008) = seconds ? 3 : 0;
  REGISTER(0x40008c00) = 0;
}

/* The flash callbacks. `context` is where the part begins. */
static int32_t flash_read(void *context, uint32_t offset, uint8_t *bytes, size_t length) {
  const volatile uint8_t *from = (const volatile uint8_t *)context + offset;
  while (length--) *bytes++ = *from++;
  return 0;
}

static int32_t flash_write(void *context, uint32_t offset, const uint8_t *bytes, size_t length) {
  volatile uint8_t *to = (volatile uint8_t *)context + offset;
  for (size_t at = 0; at < length; at++)
    if (to[at] != 0xff) return 1; /* a word is written once between two erasures */
  for (size_t at = 0; at < length; at++) to[at] = bytes[at];
  return 0;
}

static int32_t flash_erase(void *context, uint32_t from, uint32_t to) {
  volatile uint8_t *cells = context;
  while (from < to) cells[from++] = 0xff;
  return 0;
}

static SealiftFlash part(uint32_t from, uint32_t length) {
  SealiftFlash flash = {(void *)(FLASH + from), length, flash_read, flash_write, flash_erase};
  return flash;
}

static SealiftDevice device(void) {
  SealiftDevice device;
  /* The factory's page: eight bytes, then the repository's id. */
  flash_read((void *)FLASH, 2 * SLOT + STORE + 8, device.repository, sizeof device.repository);
  device.product = "weather-station";
  device.component = "main";
  device.hardware = "mps2-an385";
  device.slot_a = part(0, SLOT);
  device.slot_b = part(SLOT, SLOT);
  device.store = part(2 * SLOT, STORE);
  device.counter = (SealiftCounter){0, 0, 0};
  return device;
}

#endif
